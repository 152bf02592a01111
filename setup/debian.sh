# Debian packages without root: sourced by venv.sh and counterparts.sh, not run by itself.
#
# apt is pointed at a private state folder, so it reads the machine's own package sources and keys but writes nothing
# outside that folder. The private state pretends that no package is installed: a download is then complete with
# all dependencies, down to the C library, and does not depend on what this machine happens to have.

# One line per step, for people.
say() {
    printf '%s\n' "setup: $*"
}

# What went wrong and what to do about it, then give up.
die() {
    printf '%s\n' "setup: $*" >&2
    exit 1
}

# Whether packages can be downloaded on this machine at all.
debian_available() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null
}

# debian_open FOLDER: makes the private state in FOLDER and reads the package lists of the machine's sources.
# Everything apt prints goes to FOLDER/log.
debian_open() {
    debian_state=$1
    rm -rf "$debian_state"
    mkdir -p "$debian_state/lists/partial" "$debian_state/archives/partial"
    : >"$debian_state/status"
    cat >"$debian_state/apt.conf" <<CONF
// Read after the machine's own apt configuration.
Dir::State "$debian_state";
Dir::State::lists "$debian_state/lists";
Dir::State::status "$debian_state/status";
Dir::Cache "$debian_state";
Dir::Cache::archives "$debian_state/archives";
Dir::Log "$debian_state";
APT::Sandbox::User "";            // the folder belongs to whoever runs this, not to _apt
APT::Install-Recommends "false";
Acquire::Languages "none";        // no translated descriptions
Acquire::PDiffs "false";
Acquire::Retries "3";
Acquire::http::Timeout "30";      // seconds
Acquire::https::Timeout "30";
#clear APT::Update::Pre-Invoke;   // hooks of the machine are about the machine's packages
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
CONF
    # A source that cannot be read is no failure here: whether the packages are found decides.
    debian_apt update || true
}

# apt-get with the private state of debian_open.
debian_apt() {
    LC_ALL=C DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -c "$debian_state/apt.conf" "$@" >>"$debian_state/log" 2>&1 </dev/null
}

# debian_fetch PACKAGE...: downloads the packages with all their dependencies.
debian_fetch() {
    debian_apt install --download-only "$@"
}

# debian_fetch_only PACKAGE: downloads one package without its dependencies.
debian_fetch_only() {
    (cd "$debian_state/archives" && debian_apt download "$1")
}

# debian_unpack FOLDER: unpacks everything downloaded into FOLDER. Nothing is installed: no maintainer script runs, so
# no user is created and no service is started.
debian_unpack() {
    mkdir -p "$1"
    for archive in "$debian_state"/archives/*.deb; do
        dpkg-deb -x "$archive" "$1" >>"$debian_state/log" 2>&1 || return 1
    done
    # Programs meant to run as another user have no business in a private folder; nor has documentation.
    find "$1" -type f -perm /6000 -exec chmod ug-s {} +
    rm -rf "$1/usr/share/doc" "$1/usr/share/man" "$1/usr/share/locale" "$1/usr/share/info"
}

# debian_close: removes the private state.
debian_close() {
    rm -rf "$debian_state"
}
