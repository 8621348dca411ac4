# SPDX-License-Identifier: GPL-2.0
#
# compare.awk WANTED GOT: whether what a command printed is what the page says. Numbers
# and white space differ from run to run, and "..." is any number of lines.

function plain(line,	words, word, i)
{
	gsub(/0x[0-9a-f]+/, "N", line)
	words = split(line, word)
	line = ""
	for (i = 1; i <= words; i++) {
		# an address
		if (word[i] ~ /^[0-9a-f]+$/ && word[i] ~ /[0-9]/)
			word[i] = "N"
		line = line " " word[i]
	}
	gsub(/[0-9]+([.,:][0-9]+)*/, "N", line)
	# the length of a bar
	gsub(/\|@* *\|/, "|@|", line)
	sub(/^ /, "", line)
	return line
}

FILENAME == ARGV[1] {
	if (plain($0) == "...") {
		gap[nr_wanted] = 1
		next
	}
	wanted[nr_wanted++] = plain($0)
	next
}

{ got[nr_got++] = plain($0) }

# Whether the page has what was printed, from line FIRST on and around.
function same(first,	i)
{
	for (i = 0; i < nr_wanted; i++) {
		if (got[(first + i) % nr_got] != wanted[i])
			return 0
	}
	return nr_got == nr_wanted
}

# Blank lines at the end are not in the page.
END {
	while (nr_got && got[nr_got - 1] == "")
		nr_got--
	while (nr_wanted && wanted[nr_wanted - 1] == "" && !gap[nr_wanted])
		nr_wanted--
	# What a program does again and again may begin anywhere.
	for (at = 0; at < nr_got; at++) {
		if (same(at))
			exit
	}
	at = 0
	for (i = 0; i < nr_wanted; i++) {
		while (gap[i] && at < nr_got && got[at] != wanted[i])
			at++
		if (at >= nr_got || got[at] != wanted[i]) {
			print "not printed: " wanted[i]
			exit 1
		}
		at++
	}
	if (at < nr_got && !gap[nr_wanted]) {
		print "not in the page: " got[at]
		exit 1
	}
}
