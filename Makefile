# make            the library, its selectors and archives (build/lib), the echo programs and dmtr-store (build/bin)
# make demo       runs a TCP echo over loopback and prints its latencies; LIBOS=dpdk over memif, beside the kernel's
# make test       checks, then runs all tests; the last line counts them
# make bench      measures, beside plain C baselines; BENCH_ARGS=--quick
# make redis      Redis with the patches of redis-patches, as it is, and Debian's, in build/redis; REDIS_SOURCE=FOLDER
# make test-redis Redis' own test suite, in full, on each libOS beside vanilla Redis, and redis-patches/checks
# make bench-rdma   RDMA in a guest (tests/vm), beside perftest
# make bench-redis  Redis beside Debian's redis-server
# make bench-tapir  TAPIR's transport, see tapir-patches, beside one on epoll
# make check      formatting, vet, staticcheck, file lengths
# make install    PREFIX=/usr/local LIBDIR=PREFIX/lib DESTDIR=; make uninstall, with the same values, takes it away again
# make pgo        measures where the library spends its time anew, for Go's compiler (capi/default.pgo)
# make abi-dump   writes the ABI down anew, after a change of it that is meant; see tests/abi/abi_gate.sh
# make clean

VERSION := 1.0.0
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
GO ?= go

# One selector libdmtr-libos-NAME.so is built for each.
LIBOS_SELECTORS := posix dpdk lwip raw rdma spdk

LIB := build/lib
SANITIZED := $(patsubst %,build/%/lib/libdmtr.so,asan tsan race)
PROFILED := build/profile/lib/libdmtr.so
OBJ := build/obj
ARCHIVES := $(LIB)/libdmtr-libos-common.a $(LIB)/libdmtr-latency.a
SELECTORS := $(LIBOS_SELECTORS:%=$(LIB)/libdmtr-libos-%.so)
# What libdmtr.so opens when a configuration asks for DPDK; only with DPDK's headers, and there is no need of it otherwise.
DPDK := $(if $(shell pkg-config --exists libdpdk 2> /dev/null && echo yes),$(LIB)/libdmtr-dpdk.so)
# The same for RDMA and rdma-core's headers.
RDMA := $(if $(shell pkg-config --exists libibverbs librdmacm 2> /dev/null && echo yes),$(LIB)/libdmtr-rdma.so)
HEADERS := $(wildcard include/dmtr/*.h include/dmtr/*/*.h)
MAP := capi/libdmtr.map
# The 1 stays whatever VERSION becomes. What changes incompatibly gets a new symbol version in the map, beside the old one, so that
# programs built years ago and new ones run on the same file; a new SONAME would put two libraries, and two states, in one process.
SONAME := libdmtr.so.1
SELECTOR_MAP := capi/selector/selector.map

C99 := $(CC) -std=c99 -O2 -fPIC -Wall -Wextra -Werror
# Goroutines are not preempted by signals, which the program would see, and their stacks stay large (see capi/caller.c).
GODEBUG_DEFAULT := asyncpreemptoff=1,gcshrinkstackoff=1
EXTLD := -Wl,--wrap=pthread_create -Wl,--version-script=$(CURDIR)/$(MAP) -Wl,-soname,$(SONAME)

# Go notices changes of its own sources, but not of headers elsewhere or of the map: it learns of them by a flag that changes.
# Without -fno-ipa-icf gcc leaves functions that have the same code as another out of the debug information, where the ABI gate looks.
export CGO_CFLAGS ?= -O2 -g -fno-ipa-icf -DDMTR_INPUTS=$(shell cat $(HEADERS) $(MAP) | cksum | cut -d' ' -f1)

.PHONY: all lib apps demo test redis test-redis bench bench-rdma bench-redis bench-tapir pgo check install install-built uninstall abi-dump clean FORCE
.DELETE_ON_ERROR:

all: lib apps

lib: $(LIB)/libdmtr.so $(SELECTORS) $(ARCHIVES) $(DPDK) $(RDMA)

# Go knows whether there is anything to do; the copy keeps its time, so that what is linked to it is not linked anew.
# Here the plain name is the file and the SONAME the link; once installed it is the usual way round.
$(LIB)/libdmtr.so $(SANITIZED) $(PROFILED): FORCE
	@mkdir -p $(@D) $(OBJ)/$(@D)
	$(GO) build $(GO_BUILD_FLAGS) -trimpath -buildvcs=false -buildmode=c-shared -ldflags "-X runtime.godebugDefault=$(GODEBUG_DEFAULT) -extldflags '$(EXTLD)'" -o $(OBJ)/$@ ./capi
	@cmp -s $(OBJ)/$@ $@ || install -m 755 $(OBJ)/$@ $@
	@test -L $(@D)/$(SONAME) || ln -s $(@F) $(@D)/$(SONAME)

# AddressSanitizer sees all of the library, ThreadSanitizer its C, and Go's race detector its Go.
build/asan/lib/libdmtr.so: GO_BUILD_FLAGS := -asan
build/tsan/lib/libdmtr.so: CGO_CFLAGS += -fsanitize=thread -fno-omit-frame-pointer
build/tsan/lib/libdmtr.so: export CGO_LDFLAGS := -fsanitize=thread
build/race/lib/libdmtr.so: GO_BUILD_FLAGS := -race
$(PROFILED): GO_BUILD_FLAGS := -tags profile
# The race detector knows the variables of Go only at low addresses, where ld.so puts this if the program is not a PIE.
build/race/lib/libdmtr.so: EXTLD += -Wl,-Ttext-segment=0x8000000

$(OBJ)/exports.h: $(LIB)/libdmtr.so | $(OBJ)
	nm -D --defined-only --with-symbol-versions $< | awk '$$2 == "T" {printf "FUNCTION(%d, \"%s\")\n", ++n, $$3}' > $@

$(SELECTORS): $(LIB)/libdmtr-libos-%.so: capi/selector/selector.c $(SELECTOR_MAP) $(OBJ)/exports.h | $(LIB)
	$(C99) -shared -nostdlib -I$(OBJ) -DDMTR_LIBOS_NAME=$* -Wl,--version-script=$(SELECTOR_MAP) -Wl,-soname,$(@F) \
		-Wl,-F,$(SONAME) -Wl,-rpath,'$$ORIGIN' -o $@ $<

$(ARCHIVES): $(LIB)/libdmtr-%.a: capi/selector/%.c | $(LIB) $(OBJ)
	$(C99) -c -o $(OBJ)/$*.o $<
	rm -f $@
	ar rcs $@ $(OBJ)/$*.o

$(LIB)/libdmtr-dpdk.so: $(wildcard libos/internal/inet/link/dpdk/shim/* libos/internal/shim/*.[ch]) | $(LIB)
	CC="$(CC)" libos/internal/inet/link/dpdk/shim/build.sh $(CURDIR)/$@

$(LIB)/libdmtr-rdma.so: $(wildcard libos/rdma/verbs/shim/* libos/internal/shim/*.[ch]) | $(LIB)
	CC="$(CC)" libos/rdma/verbs/shim/build.sh $(CURDIR)/$@

$(LIB) $(OBJ):
	mkdir -p $@

apps: lib
	$(GO) build -trimpath -buildvcs=false -o build/bin/dmtr-store ./apps/dmtr-store
	scripts/cmake-build.sh cmake all

demo:
	scripts/install-deps.sh demo
	$(MAKE) all
	scripts/demo.sh

test:
	scripts/install-deps.sh test
	scripts/test.sh

redis: lib
	scripts/install-deps.sh redis
	redis-patches/build.sh $(REDIS_SOURCE)

test-redis: redis
	redis-patches/test.sh build/redis/tests.xml
	for check in aof clients daemon kill limits together; do redis-patches/checks/$$check.py || exit 1; done
	redis-patches/checks/rdma.sh || [ $$? -eq 77 ]

bench-redis: redis
	scripts/install-deps.sh bench
	$(MAKE) all
	tests/bench/run.py $(BENCH_ARGS) --only redis_posix --only redis_one --only redis_memif --only redis_memory

bench-rdma:
	scripts/install-deps.sh vm
	scripts/install-deps.sh bench
	$(MAKE) all
	tests/bench/run.py $(BENCH_ARGS) --only rdma_echo --only rdma_bulk --only rdma_many --only allocations

bench:
	scripts/install-deps.sh bench
	$(MAKE) all
	tests/bench/run.py $(BENCH_ARGS)

bench-tapir:
	scripts/install-deps.sh bench
	$(MAKE) all
	tests/bench/run.py $(BENCH_ARGS) --only tapir_crowd --only tapir_alone

pgo: lib $(PROFILED)
	tests/bench/profile.py

check:
	scripts/check.sh

install: lib
	@$(MAKE) --no-print-directory install-built

# Installs what is in LIB, as it is.
PACKAGE := $(LIBDIR)/pkgconfig/dmtr.pc $(LIBDIR)/cmake/dmtr/dmtr-config.cmake $(LIBDIR)/cmake/dmtr/dmtr-config-version.cmake
INSTALLED := $(LIBDIR)/$(SONAME) $(LIBDIR)/libdmtr.so $(addprefix $(LIBDIR)/,$(notdir $(SELECTORS) $(ARCHIVES)) libdmtr-dpdk.so libdmtr-rdma.so) $(PACKAGE) \
	$(HEADERS:%=$(PREFIX)/%)
install-built:
	install -D -m 755 $(LIB)/libdmtr.so $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libdmtr.so
	install -m 755 $(SELECTORS) $(wildcard $(LIB)/libdmtr-dpdk.so $(LIB)/libdmtr-rdma.so) $(DESTDIR)$(LIBDIR)
	install -m 644 $(ARCHIVES) $(DESTDIR)$(LIBDIR)
	for h in $(HEADERS); do install -D -m 644 $$h $(DESTDIR)$(PREFIX)/$$h || exit; done
	for f in $(PACKAGE:%=$(DESTDIR)%); do \
		mkdir -p $${f%/*} && \
		sed -e 's|@VERSION@|$(VERSION)|; s|@SONAME@|$(SONAME)|; s|@LIBOS@|$(LIBOS_SELECTORS)|' \
			-e "s|@LIBDIR@|$$(realpath -ms --relative-to=$${f%/*} $(DESTDIR)$(LIBDIR))|" \
			-e "s|@PREFIX@|$$(realpath -ms --relative-to=$${f%/*} $(DESTDIR)$(PREFIX))|" capi/package/$${f##*/}.in > $$f && \
		chmod 644 $$f || exit; \
	done
	[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || PATH="$$PATH:/sbin" ldconfig # so that programs find it in a usual folder

uninstall:
	rm -f $(INSTALLED:%=$(DESTDIR)%)
	for d in $(LIBDIR)/cmake/dmtr $(PREFIX)/include/dmtr; do \
		[ ! -d $(DESTDIR)$$d ] || find $(DESTDIR)$$d -depth -type d -empty -delete; \
	done

abi-dump: lib
	DMTR_LIB_DIR=$(LIB) DMTR_INCLUDE_DIR=include tests/abi/abi_gate.sh renew

clean:
	rm -rf build
