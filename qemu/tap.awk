# SPDX-License-Identifier: GPL-2.0
#
# tap.awk [-v cases=N] -v status=N [-v mayskip="PROGRAM..."] LISTED KUNIT KSELFTESTS
#
# Sum up what KUnit and the kselftests reported. What was planned and did not
# report has failed: the cases of a KUnit suite, the programs in LISTED and the
# tests that each of them announced. So has a program that skipped all of its
# tests, but one of mayskip. What a test that failed had printed comes once more
# at the end, where the last lines of a log have it. Without cases there is no KUnit in
# that kernel.

# Of a test that has much to say, the end tells why it failed.
function say(line)
{
	said[lines++ % 100] = line
}

function quote(suite, i)
{
	quoted = quoted "\n" suite ":\n"
	for (i = lines > 100 ? lines - 100 : 0; i < lines; i++)
		quoted = quoted said[i % 100] "\n"
}

function count(suite, line)
{
	if (!(suite in known)) {
		known[suite] = 1
		order[++suites] = suite
	}
	if (line ~ /^not ok/) {
		failed[suite]++
		say(line)
		quote(suite)
	} else if (line ~ /# SKIP/) {
		skipped[suite]++
	} else {
		passed[suite]++
	}
	reported[suite]++
	lines = 0
}

function fail(suite, many, why)
{
	if (!(suite in known)) {
		known[suite] = 1
		order[++suites] = suite
	}
	failed[suite] += many
	print "FAILED: " suite ": " why
}

# By name: a file may be empty.
{ file = FILENAME == ARGV[1] ? 1 : FILENAME == ARGV[2] ? 2 : 3 }

file == 1 { sub(/^user_events:/, ""); expected[$0] = 1; next }

# A case that takes parameters counts as often as it ran.
file == 2 && /^    # Subtest: / { suite = "KUnit " $3; next }
file == 2 && /^        (not )?ok [0-9]+ / { count(suite, substr($0, 9)); runs++; next }
file == 2 && /^    (not )?ok [0-9]+ / {
	if (!runs || (/^    not ok/ && !failed[suite]))
		count(suite, substr($0, 5))
	runs = 0
	kunit++
	next
}
file == 2 { say($0); next }

# The runner says which program comes, quotes its lines and adds its verdict.
/^# selftests: user_events: / { suite = $4; lines = 0; next }
/^# #  RUN / { lines = 0 }
/^# 1\.\.[0-9]+/ { planned[suite] = substr($2, 4) + 0; next }
/^# (not )?ok [0-9]+ / { count(suite, substr($0, 3)); next }
/^# / { say(substr($0, 3)); next }
/^(not )?ok [0-9]+ selftests: user_events: / {
	for (i = 1; i <= NF; i++)
		if ($i == "user_events:")
			suite = $(i + 1)
	ended[suite] = 1
	missing = planned[suite] - reported[suite]
	if (missing > 0) {
		fail(suite, missing, missing " tests did not report")
		quote(suite)
	} else if (/^not ok/ && !failed[suite])
		fail(suite, 1, $0)
	else if (/# SKIP/ && !reported[suite])
		count(suite, $0)
	else if (!reported[suite])
		fail(suite, 1, "reported no test")
}

END {
	if (kunit < cases + 0)
		fail("KUnit", cases - kunit, cases - kunit " cases did not report")
	else if (cases == "0")
		fail("KUnit", 1, "there are no cases")
	for (suite in expected)
		if (!(suite in ended))
			fail(suite, 1, "did not run to its end")

	split(mayskip, names)
	for (i in names)
		optional[names[i]] = 1
	for (i = 1; i <= suites; i++) {
		suite = order[i]
		if (!passed[suite] && !failed[suite] && !(suite in optional))
			fail(suite, 1, "skipped all of its tests")
	}

	printf "\n%-28s %8s %8s %8s\n", "suite", "passed", "failed", "skipped"
	for (i = 1; i <= suites; i++) {
		suite = order[i]
		printf "%-28s %8d %8d %8d\n", suite, passed[suite], \
			failed[suite], skipped[suite]
		allpassed += passed[suite]
		allfailed += failed[suite]
		allskipped += skipped[suite]
	}
	if (status != 0 && !allfailed) {
		allfailed++
		print "FAILED: the guest ended with status " status
	}
	print quoted
	printf "%d passed, %d failed, %d skipped\n", allpassed, allfailed, \
		allskipped
	exit allfailed != 0
}
