# make            the library, its selectors and archives (build/lib) and the echo programs (build/bin)
# make demo       runs a TCP echo over loopback and prints its latencies
# make test       checks, then runs all tests; the last line counts them
# make bench      measures, beside plain C baselines; BENCH_ARGS=--quick
# make check      formatting, vet, staticcheck, file lengths
# make install    PREFIX=/usr/local DESTDIR=
# make clean

PREFIX ?= /usr/local
DESTDIR ?=
GO ?= go

# One selector libdmtr-libos-NAME.so is built for each.
LIBOS_SELECTORS := posix dpdk lwip rdma spdk

LIB := build/lib
ASAN_LIB := build/asan/lib
OBJ := build/obj
ARCHIVES := $(LIB)/libdmtr-libos-common.a $(LIB)/libdmtr-latency.a
SELECTORS := $(LIBOS_SELECTORS:%=$(LIB)/libdmtr-libos-%.so)
HEADERS := $(wildcard include/dmtr/*.h include/dmtr/*/*.h)
MAP := capi/libdmtr.map
SELECTOR_MAP := capi/selector/selector.map

C99 := $(CC) -std=c99 -O2 -fPIC -Wall -Wextra -Werror
# Goroutines are not preempted by signals, which the program would see, and their stacks stay large (see capi/caller.c).
GODEBUG_DEFAULT := asyncpreemptoff=1,gcshrinkstackoff=1
EXTLD := -Wl,--wrap=pthread_create -Wl,--version-script=$(CURDIR)/$(MAP) -Wl,-soname,libdmtr.so

# Go notices changes of its own sources, but not of headers elsewhere or of the map: it learns of them by a flag that changes.
export CGO_CFLAGS ?= -O2 -g -DDMTR_INPUTS=$(shell cat $(HEADERS) $(MAP) | cksum | cut -d' ' -f1)

.PHONY: all lib apps demo test bench check install clean FORCE
.DELETE_ON_ERROR:

all: lib apps

lib: $(LIB)/libdmtr.so $(SELECTORS) $(ARCHIVES)

# Go knows whether there is anything to do; the copy keeps its time, so that what is linked to it is not linked anew.
$(LIB)/libdmtr.so $(ASAN_LIB)/libdmtr.so: FORCE
	@mkdir -p $(@D) $(OBJ)/$(@D)
	$(GO) build $(GO_BUILD_FLAGS) -trimpath -buildvcs=false -buildmode=c-shared -ldflags "-X runtime.godebugDefault=$(GODEBUG_DEFAULT) -extldflags '$(EXTLD)'" -o $(OBJ)/$@ ./capi
	@cmp -s $(OBJ)/$@ $@ || install -m 755 $(OBJ)/$@ $@
$(ASAN_LIB)/libdmtr.so: GO_BUILD_FLAGS := -asan

$(OBJ)/exports.h: $(LIB)/libdmtr.so | $(OBJ)
	nm -D --defined-only --with-symbol-versions $< | awk '$$2 == "T" {printf "FUNCTION(%d, \"%s\")\n", ++n, $$3}' > $@

$(SELECTORS): $(LIB)/libdmtr-libos-%.so: capi/selector/selector.c $(SELECTOR_MAP) $(OBJ)/exports.h | $(LIB)
	$(C99) -shared -nostdlib -I$(OBJ) -DDMTR_LIBOS_NAME=$* -Wl,--version-script=$(SELECTOR_MAP) -Wl,-soname,$(@F) \
		-Wl,-F,libdmtr.so -Wl,-rpath,'$$ORIGIN' -o $@ $<

$(ARCHIVES): $(LIB)/libdmtr-%.a: capi/selector/%.c | $(LIB) $(OBJ)
	$(C99) -c -o $(OBJ)/$*.o $<
	rm -f $@
	ar rcs $@ $(OBJ)/$*.o

$(LIB) $(OBJ):
	mkdir -p $@

apps: lib
	scripts/cmake-build.sh cmake all

demo:
	scripts/install-deps.sh demo
	$(MAKE) all
	scripts/demo.sh

test:
	scripts/install-deps.sh test
	scripts/test.sh

bench:
	scripts/install-deps.sh bench
	$(MAKE) all
	tests/bench/run.py $(BENCH_ARGS)

check:
	scripts/check.sh

install: lib
	install -d $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(LIB)/libdmtr.so $(SELECTORS) $(DESTDIR)$(PREFIX)/lib
	install -m 644 $(ARCHIVES) $(DESTDIR)$(PREFIX)/lib
	cd include && for h in $(HEADERS:include/%=%); do install -D -m 644 $$h $(DESTDIR)$(PREFIX)/include/$$h || exit; done

clean:
	rm -rf build
