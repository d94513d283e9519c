# The library is built with the settings of the Go runtime that signal handlers rely on; see GODEBUG_DEFAULT in the Makefile.
grep -qaF asyncpreemptoff=1,gcshrinkstackoff=1 "$DMTR_LIB_DIR/libdmtr.so" || { echo "without runtime.godebugDefault"; exit 1; }
