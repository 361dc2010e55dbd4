# Where install.sh and uninstall.sh put and find things, from PREFIX, LIBDIR and DESTDIR: prefix and libdir as programs will see them,
# to and lib as they are now.
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "$1" ;; esac; }
prefix=$(absolute "$PREFIX")
case ${LIBDIR:-lib} in /*) libdir=$LIBDIR ;; *) libdir=$prefix/${LIBDIR:-lib} ;; esac
root=${DESTDIR:+$(absolute "$DESTDIR")}
to=$root$prefix
lib=$root$libdir
