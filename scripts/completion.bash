# bash completion for knarr: commands and options as knarr itself prints them, names of machines where a command takes those.
_knarr() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} all
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(knarr help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\) .*/\1/p')" -- "$current")
        return
    fi
    case $current in
    -*)
        mapfile -t COMPREPLY < <(compgen -W "$(knarr "$command" --help 2>/dev/null |
            sed -n 's/^ \{2,6\}\(-[^ ,]*\)\(, \(--[a-z0-9-]*\)\)\{0,1\}.*/\1 \3/p')" -- "$current")
        return
        ;;
    esac
    case $previous in
    -v | --volume | --root | --disk | --env-file | --kernel | -o | --output) ;; # files
    *)
        case $command in
        logs | attach | exec | stop | kill | wait | rm | inspect | stats)
            all=
            [ "$command" = rm ] || [ "$command" = logs ] || [ "$command" = inspect ] && all=-a
            mapfile -t COMPREPLY < <(compgen -W "$(knarr ps $all 2>/dev/null | sed 1d | awk '{ print $NF }')" -- "$current")
            return
            ;;
        esac
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
}
complete -o filenames -F _knarr knarr
