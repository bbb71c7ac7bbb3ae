#!/usr/bin/env bash
# Bring results from a server (pull) or to it (push); cut off anywhere, the same command goes on.
#
#   slurm/sync_results.sh pull                        the light files of all experiments
#   slurm/sync_results.sh pull cluster --only natlantic --heavy
#   slurm/sync_results.sh push user@host:isobar/results --dry-run
#
# See --help and docs/sync.md. Runs with the bash 3.2 of macOS; needs rsync 3 on both sides.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: sync_results.sh pull|push|list [SERVER] [options]

  pull           bring results from the server
  push           bring results to the server
  list           show what lies in results/ (or in the experiments of --only) on the server
  SERVER         a section of the config, or user@host:path; left out: the first section

  --only NAME    only this experiment, or EXPERIMENT/RUN; may be given several times
  --heavy        weights, checkpoints, predictions and trees of tables as well (*.pt *.ckpt *.npz checkpoints/ …)
  -n, --dry-run  say what would be done
  --delete       delete what the other side does not have (look with --dry-run first)
  --local DIR    results folder on this side (config: local; else results/ of the project or of ISOBAR_HOME)
  --config FILE  config (else slurm/sync.conf, then ~/.config/isobar/sync.conf)
  --tries N      attempts when the link is cut (5)
  --open         open the page of results after a pull

Files that are newer on the receiving side are left as they are; nothing is deleted without --delete.
exit codes: 0 done, 1 failed, 2 wrong command line or config, 75 cut off: the same command goes on
TEXT
}

say() { printf 'sync_results: %s\n' "$*" >&2; }
wrong() { say "$*"; exit 2; }

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
action="" server="" config="" typed_local="" heavy="" dry="" delete="" open="" tries=5
only=()

value_of() { [ "$1" -ge 2 ] || wrong "$2: a value is missing; see --help"; }

while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --only) value_of $# "$1"; only+=("${2%/}"); shift ;;
    --local) value_of $# "$1"; typed_local="$2"; shift ;;
    --config) value_of $# "$1"; config="$2"; shift ;;
    --tries) value_of $# "$1"; tries="$2"; shift ;;
    --heavy) heavy=yes ;;
    -n | --dry-run) dry=yes ;;
    --delete) delete=yes ;;
    --open) open=yes ;;
    -*) wrong "$1: unknown option; see --help" ;;
    *)
      if [ -z "$action" ]; then action="$1"
      elif [ -z "$server" ]; then server="$1"
      else wrong "$1: one word too many; see --help"; fi ;;
  esac
  shift
done

case "$action" in
  pull | push | list) ;;
  "") wrong "pull, push or list? see --help" ;;
  *) wrong "$action: allowed are pull, push and list; see --help" ;;
esac
case "$tries" in '' | *[!0-9]* | 0*) wrong "--tries $tries: not a number above 0" ;; esac
for name in ${only[@]+"${only[@]}"}; do
  case "/$name/" in
    // | //* | */../* | */./*) wrong "--only $name: not a name in results/; write EXPERIMENT or EXPERIMENT/RUN" ;;
  esac
done

command -v rsync > /dev/null || { say "rsync is missing: apt-get install rsync, dnf install rsync or brew install rsync"; exit 1; }
case "$(rsync --version 2> /dev/null | head -n 1)" in
  *"version 3"* | *"version 4"*) ;;
  *) say "rsync 3 or newer is needed (macOS: brew install rsync); found: $(rsync --version 2>&1 | head -n 1)"; exit 1 ;;
esac

# --- where: the command line, or a section of the config ---------------------------------------------------------------

host="" path="" local="" ssh="ssh"

trim() { # into $trimmed
  trimmed="${1#"${1%%[![:space:]]*}"}"
  trimmed="${trimmed%"${trimmed##*[![:space:]]}"}"
}

read_config() { # FILE SECTION (empty: the first one)
  local file="$1" wanted="$2" section="" sections="" found="" number=0 line key trimmed
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    trim "$line"
    line="$trimmed"
    case "$line" in
      '' | '#'*) continue ;;
      '['*']')
        section="${line#[}" section="${section%]}"
        sections="${sections:+$sections, }$section"
        [ -n "$wanted" ] || wanted="$section"
        [ "$section" != "$wanted" ] || found=yes ;;
      *=*)
        trim "${line%%=*}"
        key="$trimmed"
        trim "${line#*=}"
        case "$key" in host | path | local | ssh) ;; *) wrong "$file:$number: $key: allowed are host, path, local and ssh" ;; esac
        if [ "$section" = "$wanted" ]; then printf -v "$key" '%s' "$trimmed"; fi ;;
      *) wrong "$file:$number: not [server] and not key = value: $line" ;;
    esac
  done < "$file"
  [ -n "$found" ] || wrong "$file: no server ${wanted:-at all} in it${sections:+; there are: $sections}"
  [ -n "$host" ] || wrong "$file: [$wanted] has no host"
  [ -n "$path" ] || wrong "$file: [$wanted] has no path"
}

case "$server" in
  *:*) host="${server%%:*}" path="${server#*:}" ;;
  *)
    if [ -z "$config" ]; then
      for config in "$here/sync.conf" "${XDG_CONFIG_HOME:-$HOME/.config}/isobar/sync.conf"; do
        [ ! -f "$config" ] || break
      done
    fi
    [ -f "$config" ] || wrong "$config: no such file; cp slurm/sync.conf.example slurm/sync.conf and put in your server"
    read_config "$config" "$server" ;;
esac
path="${path%/}"
# What begins with ~ is relative to the home over there, where a path without / starts anyway.
case "$path" in \~) path="." ;; \~/*) path="${path#\~/}" ;; esac
if [ -z "$host" ] || [ -z "$path" ]; then wrong "$server: write user@host:path/of/results"; fi
case "$host" in -*) wrong "$host: not a host" ;; esac

here_local="${typed_local:-${local:-${ISOBAR_HOME:-$(dirname "$here")}/results}}"
case "$here_local" in \~/*) here_local="$HOME/${here_local#\~/}" ;; esac
here_local="${here_local%/}"

# --- what ----------------------------------------------------------------------------------------------------------------

# Names are taken literally on both sides (-s); what was cut is kept beside its file and gone on with (--partial-dir); a
# file appears under its name only when it is whole (rsync writes beside and renames). Owners and modes stay at home.
options=(-rltuz -s -8 --partial-dir=.rsync-partial --timeout=300 "--out-format=%n%L")
# Marks of processes at work, half-written files, messages that wait for their own machine, the README of the project.
options+=("--exclude=.lock*" "--exclude=.*.part" "--exclude=/.outbox/" "--exclude=/.jobs/" "--exclude=/README.md")
if [ -z "$heavy" ]; then
  for pattern in checkpoints/ '*.pt' '*.pth' '*.ckpt' '*.npz' '*.npy' '*.safetensors' '*.onnx' '*.pkl' '*.nc' '*.zarr/'; do
    options+=("--exclude=$pattern")
  done
fi
[ -z "$dry" ] || options+=(--dry-run)
[ -z "$delete" ] || options+=(--delete-after)
if [ -t 1 ]; then options+=(--info=progress2); else options+=(--info=stats1); fi
link="$ssh -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"

quoted() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

literal() { # the rsync over there would take * ? [ for wildcards; only then is \ special to it
  local text="$1"
  case "$text" in
    *[*?[]*)
      text="${text//\\/\\\\}" text="${text//\*/\\*}" text="${text//\?/\\?}" text="${text//\[/\\[}" ;;
  esac
  printf '%s' "$text"
}

transfer() { # runs rsync once, with the shell command of the link as $1
  local from=() name
  case "$action" in
    list)
      for name in ${only[@]+"${only[@]}"}; do
        rsync -s -8 -e "$1" --timeout=300 --list-only "$host:$(literal "$path/$name/")" || return
      done
      [ ${#only[@]} -gt 0 ] || rsync -s -8 -e "$1" --timeout=300 --list-only "$host:$(literal "$path/")" ;;
    pull)
      [ -n "$dry" ] || mkdir -p "$here_local"
      for name in ${only[@]+"${only[@]}"}; do from+=("$host:$(literal "$path/./$name")"); done
      if [ ${#only[@]} -gt 0 ]; then options+=(-R); else from=("$host:$(literal "$path/")"); fi
      rsync "${options[@]}" -e "$1" "${from[@]}" "$here_local/" || return
      # The pages of results lie beside the experiments; they may not be there yet.
      if [ ${#only[@]} -gt 0 ] && [ -z "$dry" ]; then
        rsync -rltuz -s -8 -R --ignore-missing-args --timeout=300 "--exclude=.lock*" -e "$1" \
          "$host:$(literal "$path/./index.html")" "$host:$(literal "$path/./.site")" "$here_local/"
      fi ;;
    push)
      for name in ${only[@]+"${only[@]}"}; do from+=("$here_local/./$name"); done
      if [ ${#only[@]} -gt 0 ]; then options+=(-R); else from=("$here_local/"); fi
      [ -n "$dry" ] || options+=("--rsync-path=mkdir -p $(quoted "$path") && rsync")
      rsync "${options[@]}" -e "$1" "${from[@]}" "$host:$path/" ;;
  esac
}

if [ "$action" = push ]; then
  [ -d "$here_local" ] || wrong "$here_local: no such folder; name one with --local"
  for name in ${only[@]+"${only[@]}"}; do
    [ -e "$here_local/$name" ] || wrong "--only $name: not in $here_local"
  done
fi

# --- do it; a cut link is taken up again ---------------------------------------------------------------------------------

aloud() { # passes its input on and shows it; /dev/stderr cannot be opened under systemd and sudo, where it is a socket or not ours
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    printf '%s\n' "$line" >&2
    printf '%s\n' "$line"
  done
}

trap 'say "stopped; the same command goes on"; exit 75' INT TERM
exec 3>&1
try=1
while :; do
  code=0
  notes="$(transfer "$link" 2>&1 >&3 3>&- | aloud)" || code=$?
  case "$code" in
    0 | 24) break ;; # 24: a job replaced or deleted a file meanwhile
    10 | 12 | 30 | 35 | 255)
      # Nothing came at the first try: refused (name, key, password), or no way there. Later on it is the cut that lasts.
      # rsync's code does not tell: whether it ends with 12 or with that of ssh is a race.
      case "$notes" in
        *"rsync: command not found"* | *"rsync: not found"*) say "rsync is missing on $host"; exit 1 ;;
        *"(0 bytes received so far)"*) came="" ;;
        # Only the first words of both sides are written and read like that, before anything is counted.
        *"safe_write failed"* | *"safe_read failed"*) came="" ;;
        *"bytes received so far)"*) came=yes ;;
        *) if [ "$code" = 255 ]; then came=""; else came=yes; fi ;;
      esac
      if [ -z "$came" ] && [ "$try" = 1 ]; then say "no connection to $host (see above)"; exit 1; fi ;;
    20) exit 75 ;;
    23) say "not everything could be transferred (see above); what lies there: sync_results.sh list${server:+ $server}"; exit 1 ;;
    127) say "rsync is missing on $host"; exit 1 ;;
    *) say "rsync failed with code $code (see above)"; exit 1 ;;
  esac
  if [ "$try" -ge "$tries" ]; then
    say "the link was cut $try times; the same command goes on"
    exit 75
  fi
  say "the link was cut; trying again in $((try * 2)) s"
  sleep $((try * 2))
  try=$((try + 1))
  # Nobody may be there to type a password again.
  case "$link" in *BatchMode*) ;; *) link="$link -o BatchMode=yes" ;; esac
done
if [ "$action" != pull ] || [ -n "$dry" ]; then exit 0; fi

page="$here_local/index.html"
if [ -f "$page" ]; then say "look at $page"; else say "done; look at $here_local"; fi
if [ -n "$open" ]; then
  [ -f "$page" ] || page="$here_local"
  if command -v xdg-open > /dev/null; then opener=xdg-open; else opener=open; fi
  "$opener" "$page" > /dev/null 2>&1 || say "no browser could be started here; open it yourself"
fi
