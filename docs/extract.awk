# SPDX-License-Identifier: GPL-2.0
#
# extract.awk -v dir=DIR: the examples of a page. A comment in front of a code block
# names it:
#
#   .. example: NAME
#   .. code-block:: LANGUAGE
#
#       text
#
# It is written to DIR/NAME, and NAME into DIR/list if it is a session: commands of
# root behind "# ", which "> " continues, and what they print.

function flush()
{
	if (name != "" && !lines) {
		print FILENAME ": " name " is empty" >"/dev/stderr"
		failed = 1
	}
	if (name != "")
		close(dir "/" name)
	name = ""
	state = 0
}

/^\.\. example: / {
	flush()
	name = $3
	if (name in seen || name !~ /^[a-z_]+\.[a-z]+$/) {
		print FILENAME ":" NR ": a bad name, or one that is there" >"/dev/stderr"
		failed = 1
	}
	seen[name] = 1
	count++
	if (name ~ /\.session$/)
		print name >(dir "/list")
	state = 1
	next
}

state == 1 {
	if ($0 !~ /^\.\. code-block:: [a-z]+$/) {
		print FILENAME ":" NR ": no code-block for " name >"/dev/stderr"
		failed = 1
	}
	state = 2
	lines = blank = 0
	next
}

# The block ends at the next line that is not indented.
state == 2 && /^[^ ]/ { flush() }

state == 2 && /^$/ {
	blank++
	next
}

state == 2 {
	while (lines && blank-- > 0)
		print "" >(dir "/" name)
	print substr($0, 5) >(dir "/" name)
	lines++
	blank = 0
}

/^\.\. code-block:: (c|console)$/ && !state {
	print FILENAME ":" NR ": a code block that nobody runs" >"/dev/stderr"
	failed = 1
}

END {
	flush()
	if (!count) {
		print "no examples" >"/dev/stderr"
		failed = 1
	}
	exit failed
}
