# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
#
# Sourced after common.sh: $uri is the archive that this machine's apt has Debian from,
# $keyring the file of the keys that its list is signed by, if apt was told one.

machine_archive()
{
	# shellcheck disable=SC2016 # apt-get expands it
	apt-get indextargets --format \
		'$(CODENAME) $(COMPONENT) $(REPO_URI) $(SOURCESENTRY)' \
		'Created-By: Packages' |
		awk -v release="$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" '
			$1 == release && $2 == "main" { print $3, $4; exit }'
}

archive=$(machine_archive)
[ -n "$archive" ] || die "apt knows no archive of Debian"
uri=${archive% *}
entry=${archive#* }
keyring=$(sed -n 's/.*signed-by[:=] *\([^] ]*\).*/\1/Ip' "${entry%:*}" | head -n 1)
