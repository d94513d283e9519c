// Package loader opens the small libraries in C (shims) through which a device uses what libdmtr does not depend on.
package loader

/*
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *opened(const char *file) { return dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE); }

// The address of a symbol of a shim, or NULL; with the reason, which need not live long, if there is no shim.
static void *dmtr_shim_symbol(const char *path, const char *file, const char *symbol, const char **why)
{
	const char *slash;
	void *handle = NULL;
	Dl_info self;
	char beside[4096];
	if (path == NULL && dladdr((const void *)&dmtr_shim_symbol, &self) != 0 && (slash = strrchr(self.dli_fname, '/')) != NULL) {
		snprintf(beside, sizeof beside, "%.*s/%s", (int)(slash - self.dli_fname), self.dli_fname, file);
		handle = opened(beside);
	}
	if (handle == NULL)
		handle = opened(path ? path : file);
	if (handle != NULL)
		return dlsym(handle, symbol);
	*why = dlerror();
	return NULL;
}
*/
import "C"

import "unsafe"

// Symbol opens a shim and looks up its symbol. The shim is the file of that name beside this library, or else where the loader looks;
// with a path it is that file alone. It stays loaded: threads and drivers of what it is linked to run on. If there is none, the
// address is nil, and why is the reason.
func Symbol(path, file, symbol string) (address unsafe.Pointer, why string) {
	var p, reason *C.char
	if path != "" {
		p = C.CString(path)
		defer C.free(unsafe.Pointer(p))
	}
	f, s := C.CString(file), C.CString(symbol)
	defer C.free(unsafe.Pointer(f))
	defer C.free(unsafe.Pointer(s))
	if address = C.dmtr_shim_symbol(p, f, s, &reason); address == nil {
		if why = file + " is of another version"; reason != nil {
			why = C.GoString(reason)
		}
	}
	return address, why
}
