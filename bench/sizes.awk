# SPDX-License-Identifier: GPL-2.0
#
# The table of sizes in Markdown, from the outputs for the kernel of version
# "baseline" and for ours. Ranges of sizes are cut where the outcome changes on either kernel.

BEGIN {
	title["ftrace"] = "ftrace"
	title["ftrace_64k"] = "ftrace, buffer_subbuf_size_kb 64"
	title["perf"] = "perf, ring of 512 KiB"
	title["both"] = "ftrace and perf"
}

FNR == 1 { side++ }
{
	name = $1
	first = $2
	if (!(name in ranges))
		order[++names] = name
	if (!(name SUBSEP first in seen)) {
		seen[name, first] = 1
		ranges[name] = ranges[name] " " first
	}
	last[name] = $3
	sub(/^[^ ]+ [^ ]+ [^ ]+ /, "")
	outcome[side, name, first] = $0
}

function sort(list, n,   i, j, x)
{
	for (i = 2; i <= n; i++) {
		x = list[i]
		for (j = i - 1; j > 0 && list[j] + 0 > x + 0; j--)
			list[j + 1] = list[j]
		list[j + 1] = x
	}
}

END {
	if (side != 2) {
		print "error: there are not two kernels' sizes" > "/dev/stderr"
		exit 1
	}
	print "| consumer | bytes | " baseline " | ours |"
	print "| --- | --- | --- | --- |"
	for (i = 1; i <= names; i++) {
		name = order[i]
		n = split(ranges[name], from, " ")
		sort(from, n)
		for (j = 1; j <= n; j++) {
			to = j < n ? from[j + 1] - 1 : last[name]
			for (k = 1; k <= 2; k++)
				if ((k, name, from[j]) in outcome)
					now[k] = outcome[k, name, from[j]]
			printf "| %s | %d to %d | %s | %s |\n", title[name],
				from[j], to, now[1], now[2]
		}
	}
}
