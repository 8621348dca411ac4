# SPDX-License-Identifier: GPL-2.0
#
# The tables of the benchmark in Markdown, from the outputs for the kernel of
# version "baseline" and for ours, and from the file that names the rows. Rows
# without figures are left out if "partial" is not empty.

function trim(s)
{
	gsub(/^[ \t]+|[ \t]+$/, "", s)
	return s
}

# 1234567 as 1,234,567
function number(x,   s)
{
	if (x == "")
		return "-"
	s = sprintf("%d", x + 0.5)
	while (s ~ /[0-9][0-9][0-9][0-9]($|,)/)
		s = add_comma(s)
	return s
}

function add_comma(s)
{
	match(s, /[0-9][0-9][0-9]($|,)/)
	return substr(s, 1, RSTART - 1) "," substr(s, RSTART)
}

function ratio(a, b)
{
	return a == "" || b == "" || b <= 0 ? "" : sprintf("%.3f", a / b)
}

function verdict(r, target)
{
	if (target == "" || r == "")
		return target == "" ? "" : "<= " target ", not measured"
	targets++
	if (r + 0 > target + 0) {
		missed++
		return "<= " target ", MISSED"
	}
	return "<= " target ", met"
}

function cell(r)
{
	return r == "" ? "-" : sprintf("%.2f", r)
}

FILENAME == ARGV[1] { base[$1] = $2; next }
FILENAME == ARGV[2] { ours[$1] = $2; next }
/^#/ || !NF { next }
{
	split($0, field, "|")
	kind = trim(field[1])
	text = trim(field[2])
	split(trim(field[3]), name, " ")
	target = trim(field[4])
	if (kind == "cost") {
		split(name[1], side, ":")
		a = ours[side[1]]
		b = base[side[2] == "" ? side[1] : side[2]]
		if (a == "" && b == "" && partial != "")
			next
		r = ratio(a, b)
		costs = costs sprintf("| %s | %s | %s | %s | %s |\n", text,
			number(b), number(a), cell(r), verdict(r, target))
	} else if (kind == "growth") {
		from = name[1]
		to = name[2]
		if (ours[to] == "" && base[to] == "" && partial != "")
			next
		r = ratio(ours[to], ours[from])
		growths = growths sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n",
			text, number(base[from]), number(base[to]),
			cell(ratio(base[to], base[from])), number(ours[from]),
			number(ours[to]), cell(r), verdict(r, target))
	} else {
		print "error: a row of kind " kind > "/dev/stderr"
		exit 1
	}
}

END {
	if (costs != "") {
		print "| instructions per call | " baseline \
			" | ours | ratio | target |"
		print "| --- | ---: | ---: | ---: | --- |"
		print costs
	}
	if (growths != "") {
		print "| from: to | " baseline \
			" from | to | growth | ours from | to | growth | target |"
		print "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
		print growths
	}
	printf "%d of %d targets met.\n", targets - missed, targets
}
