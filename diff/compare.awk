# SPDX-License-Identifier: GPL-2.0
#
# Compare two transcripts of play, the base's ("base") and ours ("ours"), step by
# step. A difference is wanted if a rule of the file "wanted" says so; what
# follows it in its session is not compared, unless the rule goes on. The first
# one of a session that no rule has is printed, and the steps up to it are
# written to "failed", one session a file.

# Rules are paragraphs, see the head of the file.
function read_rules(   line, key, value)
{
	while ((getline line < wanted) > 0) {
		if (line ~ /^#/)
			continue
		if (line == "") {
			open_rule = 0
			continue
		}
		key = line
		sub(/ .*/, "", key)
		value = substr(line, length(key) + 2)
		if (key == "difference") {
			title = value
			titles[title] = 1
			continue
		}
		if (!open_rule) {
			open_rule = 1
			nr_rules++
			rule_title[nr_rules] = title
		}
		rule[nr_rules, key] = value
		if (key == "shown") {
			# by a test, nothing to compare
			nr_rules--
			open_rule = 0
		}
	}
	close(wanted)
}

# One line of a side, with what the other has there.
function get(file,   line)
{
	if ((getline line < file) <= 0)
		return "end"
	return line
}

# Collect a step: its line, then what it printed, up to the next step.
function get_step(side, file,   line)
{
	count[side] = 0
	step[side] = ahead[side] == "" ? get(file) : ahead[side]
	while ((line = get(file)) !~ /^(> |session |end$)/)
		text[side, ++count[side]] = line
	ahead[side] = line
}

function matches(value, pattern, have)
{
	return !have || value ~ pattern
}

# Did the session have such a step before this one?
function had_step(pattern,   i)
{
	for (i = 1; i < nr_steps; i++) {
		if (("> " steps[i]) ~ pattern)
			return 1
	}
	return 0
}

# The rule that wants these two lines to differ, 0 for none.
function find_rule(base_line, our_line,   i, changed, plain, parts)
{
	for (i = 1; i <= nr_rules; i++) {
		if (!matches(step["base"], rule[i, "step"], (i, "step") in rule) ||
		    !matches(base_line, rule[i, "base"], (i, "base") in rule) ||
		    !matches(our_line, rule[i, "ours"], (i, "ours") in rule) ||
		    !matches(text["ours", 1], rule[i, "answer"], (i, "answer") in rule))
			continue
		if ((i, "after") in rule && !had_step(rule[i, "after"]))
			continue
		if ((i, "as") in rule) {
			# The same once they are changed so
			changed = our_line
			plain = base_line
			split(rule[i, "as"], parts, " ")
			gsub(parts[1], parts[2], changed)
			gsub(parts[1], parts[2], plain)
			if (changed != plain)
				continue
		}
		return i
	}
	return 0
}

# 0: the same, 1: compare no further, 2: not wanted
function compare_step(   i, r, most, a, b)
{
	most = count["base"] > count["ours"] ? count["base"] : count["ours"]
	for (i = 1; i <= most; i++) {
		a = i <= count["base"] ? text["base", i] : ""
		b = i <= count["ours"] ? text["ours", i] : ""
		if (a == b)
			continue
		r = find_rule(a, b)
		if (!r) {
			found_base = a
			found_ours = b
			return 2
		}
		used[r]++
		if (!((r, "goes") in rule))
			return 1
	}
	return 0
}

# The steps of the session up to the one that failed.
function write_session(   file, i)
{
	file = failed "/" nr_failed
	print session > file
	for (i = 1; i <= nr_steps; i++)
		print steps[i] > file
	close(file)
}

# Skip to the end of the session on one side.
function skip(side, file)
{
	while (ahead[side] !~ /^(session |end$)/)
		get_step(side, file)
}

function kind_of_failure(   kind)
{
	kind = step["base"] " " found_base " " found_ours
	return kind
}

BEGIN {
	read_rules()
	ahead["base"] = get(base)
	ahead["ours"] = get(ours)
	while (ahead["base"] != "end" && ahead["ours"] != "end") {
		get_step("base", base)
		get_step("ours", ours)
		if (step["base"] != step["ours"]) {
			print "error: the transcripts are of different sessions: " \
				step["base"] ", " step["ours"]
			exit 2
		}
		if (step["base"] ~ /^session /) {
			session = step["base"]
			nr_sessions++
			nr_steps = 0
		} else {
			steps[++nr_steps] = substr(step["base"], 3)
		}
		outcome = compare_step()
		if (!outcome)
			continue
		cut += outcome == 1
		if (outcome == 2) {
			nr_failed++
			write_session()
			if (nr_failed <= (most_shown ? most_shown : 20)) {
				print session
				print "  " step["base"]
				print "    base: " found_base
				print "    ours: " found_ours
			}
		}
		skip("base", base)
		skip("ours", ours)
	}
	if (ahead["base"] != ahead["ours"]) {
		print "error: a transcript ends early"
		exit 2
	}
	for (i = 1; i <= nr_rules; i++) {
		if (!(i in used))
			print "not seen: " rule_title[i] ": " rule[i, "step"] \
				", base " rule[i, "base"] ", ours " rule[i, "ours"] > unseen
	}
	for (i = 1; i <= nr_rules; i++)
		total += used[i]
	printf "%d sessions, %d wanted differences in %d of them, %d not wanted\n",
		nr_sessions, total, cut, nr_failed
	exit nr_failed ? 1 : 0
}
