# SPDX-License-Identifier: GPL-2.0
#
# session.awk -v name=NAME -v dir=DIR: a session as a script. What each command is to
# print goes to DIR/NAME.N.wanted.

function finish()
{
	if (!nr)
		return
	printf "} >%s/%s.%d.got 2>&1 </dev/null\n", dir, name, nr
	printf "finished %s.%d $?\n", name, nr
	# Whoever types gives a program the time to start, and to end.
	if (command ~ /&$|^kill /)
		print "sleep 1"
	command = ""
}

/^# / {
	finish()
	nr++
	command = substr($0, 3)
	gsub(/'/, "'\\''", command)
	printf "starting '%s'\n{\n", command
	command = substr($0, 3)
	print command
	printf "" >(dir "/" name "." nr ".wanted")
	next
}

/^> / && nr {
	command = substr($0, 3)
	print command
	next
}

nr {
	print >(dir "/" name "." nr ".wanted")
}

END { finish() }
