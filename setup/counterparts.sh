#!/bin/sh
# The real counterparts that the demo and the tests talk to: Orthanc (an archive) and DCMTK (command line tools).
#
# What the system has is used as it is. What it lacks is taken from Debian's packages, unpacked into .counterparts/
# in the checkout; see debian.sh. That needs no root, installs nothing and starts no service: to undo it, remove the folder.
# strace comes along, for the benchmark that counts system calls.
#
#   .counterparts/root/         the unpacked packages, with their own C library and loader
#   .counterparts/bin/          one small script per program, which runs it inside root/
#   .counterparts/complete      written last; without it the folder is made anew
#
# Environment: REQUIRE_REAL=1 makes it a failure when a counterpart can neither be found nor downloaded. Otherwise that is
# said, and the tests which need it skip.
set -eu

setup=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
prefix=$(dirname -- "$setup")/.counterparts
. "$setup/debian.sh"

dcmtk_tools='storescu storescp echoscu findscu movescu getscu dcmqrscp dcmdump dcmodify dcmconv dump2dcm dcmsend'

# Ends without counterparts: a failure only where they are required.
without() {
    say "$*"
    say "get them with your system's packages orthanc and dcmtk (then stop and disable the service 'orthanc')"
    if [ "${REQUIRE_REAL:-0}" = 1 ]; then
        die "REQUIRE_REAL=1, so this is a failure"
    fi
    say "tests that need $wanted will skip"
    exit 0
}

# The Orthanc of the system, or nothing.
system_orthanc() {
    if [ -x /usr/sbin/Orthanc ]; then
        echo /usr/sbin/Orthanc
    else
        command -v Orthanc || true
    fi
}

# Whether the system has DCMTK. Only /usr/bin counts: pynetdicom puts programs of the same names on the PATH.
system_has_dcmtk() {
    for tool in storescu storescp echoscu dcmdump dcmodify; do
        [ -x "/usr/bin/$tool" ] || return 1
    done
}

# wrapper PROGRAM: writes bin/NAME, which runs root/PROGRAM with the loader and libraries it was built for. The script
# finds its folder at run time, so that a checkout can be moved, and becomes the program, so that signals reach it.
wrapper() {
    cat >"$prefix/bin/${1##*/}" <<SCRIPT
#!/bin/sh
root=\$(CDPATH='' cd -- "\$(dirname -- "\$0")/../root" && pwd)
DCMDICTPATH=\$root/$dictionary
export DCMDICTPATH
exec "\$root/$loader" \\
    --library-path "\$root/lib/$triplet:\$root/usr/lib/$triplet:\$root/lib:\$root/usr/lib" \\
    "\$root/$1" "\$@"
SCRIPT
    chmod +x "$prefix/bin/${1##*/}"
}

# Puts an Orthanc that is elsewhere on the PATH where the demo and the tests look.
link_orthanc() {
    mkdir -p "$prefix/bin"
    case $orthanc in
        '' | /usr/sbin/* | /usr/bin/* | "$prefix"/*) ;;
        *) ln -sf "$orthanc" "$prefix/bin/Orthanc" ;;
    esac
}

# first_file NAME...: path inside root/ of the first regular file with one of these names (patterns).
first_file() {
    for name in "$@"; do
        found=$(cd "$prefix/root" && find . -type f -name "$name" | LC_ALL=C sort | head -n 1)
        if [ -n "$found" ]; then
            echo "${found#./}"
            return
        fi
    done
}

# prove PROGRAM: runs it and says its version.
prove() {
    version=$("$prefix/bin/$1" --version 2>/dev/null) || die "the unpacked $1 does not start; see $prefix/root"
    say "counterparts: $1 $(printf '%s' "$version" | grep -o '[0-9][0-9]*\.[0-9][0-9.]*' | head -n 1)"
}

wanted=
orthanc=$(system_orthanc)
[ -n "$orthanc" ] || wanted=orthanc
system_has_dcmtk || wanted="$wanted${wanted:+ }dcmtk"

# Counts the system calls of a benchmark. Nobody downloads 60 MB for that alone; who does anyway gets it too.
if [ -n "$wanted" ] && ! command -v strace >/dev/null; then
    wanted="$wanted strace"
fi

mkdir -p "$prefix"
exec 9<"$setup"
flock 9     # two make runs at once: the second waits and then finds the work done

if [ -z "$wanted" ]; then
    link_orthanc
    say "counterparts: Orthanc and DCMTK of this system"
    exit 0
fi
if [ "$(cat "$prefix/complete" 2>/dev/null)" = "$wanted" ]; then
    say "counterparts: ready in .counterparts ($wanted)"
    exit 0
fi

debian_available || without "no $wanted here, and no apt-get to download Debian's packages with"
trap 'rm -rf "$prefix/apt" "$prefix/root.new"' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM
rm -rf "$prefix/complete" "$prefix/bin" "$prefix/root" "$prefix/root.new"

say "counterparts: reading the package lists of this machine's sources"
debian_open "$prefix/apt"
say "counterparts: downloading $wanted with dependencies (about 60 MB; no root, nothing installed)"
# shellcheck disable=SC2086  # a list of package names
if ! debian_fetch $wanted; then
    tail -n 5 "$prefix/apt/log" >&2
    without "could not download $wanted: no network, or not in this machine's package sources"
fi
say "counterparts: unpacking into .counterparts"
if ! debian_unpack "$prefix/root.new"; then
    tail -n 5 "$prefix/apt/log" >&2
    die "could not unpack the packages: is the disk full?"
fi
mv "$prefix/root.new" "$prefix/root"

loader=$(first_file 'ld-linux*.so.*' 'ld64.so.*')
dictionary=$(first_file dicom.dic)
[ -n "$loader" ] && [ -n "$dictionary" ] || die "the unpacked packages hold no loader or no DICOM dictionary"
triplet=$(basename "$(dirname "$loader")")    # Debian's name of the architecture, such as aarch64-linux-gnu
link_orthanc
for package in $wanted; do
    case $package in
        orthanc)
            wrapper usr/sbin/Orthanc
            prove Orthanc
            ;;
        dcmtk)
            for tool in $dcmtk_tools; do
                [ ! -x "$prefix/root/usr/bin/$tool" ] || wrapper "usr/bin/$tool"
            done
            prove storescu
            ;;
        strace)
            wrapper usr/bin/strace
            ;;
    esac
done
echo "$wanted" >"$prefix/complete"
