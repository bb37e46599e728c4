# Two targets matter to a newcomer: `make demo` and `make test`. Each installs what it needs.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
STATIC_TARGET := x86_64-unknown-linux-gnu
STATIC := RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --target $(STATIC_TARGET)
AGENT := $(TARGET)/release/libexec/guestd
# By name: with the package alone, cargo would build all that it uses once more.
AGENT_TESTS := $(patsubst guestd/tests/%.rs,--test %,$(wildcard guestd/tests/*.rs))

.PHONY: all build demo test bench bench-nbd soak fuzz check clean help appliance install

all: build

help:
	@echo 'make build      programs, in $(TARGET)/release'
	@echo 'make appliance  the machine that works on guests, in the user'"'"'s cache'
	@echo 'make install    what was built, in PREFIX (/usr/local)'
	@echo 'make demo       build a Debian guest, look into it, change it, convert it'
	@echo 'make test       all tests (30 minutes at most)'
	@echo 'make bench      side by side with qemu-img'
	@echo 'make bench-guests  side by side with libguestfs (a quarter of an hour)'
	@echo 'make bench-nbd  side by side with qemu-nbd, nbdkit and nbdcopy'
	@echo 'make soak       an NBD server under load for ten minutes'
	@echo 'make fuzz       damaged input for every parser, TIME=60 seconds each (needs a nightly compiler)'
	@echo 'make check      formatting and lints'

build:
	@scripts/install-packages build
	$(CARGO) build --release --workspace
	@# Each alone leaves a processor idle.
	@$(MAKE) --no-print-directory -j2 $(AGENT) img

# Scripts start img thousands of times: as one static program it starts in two thirds of the time.
.PHONY: img
img:
	$(STATIC) --release -p img
	install $(TARGET)/$(STATIC_TARGET)/release/img $(TARGET)/release/img

# The agent is one static program: it must run where there is nothing else.
$(AGENT): FORCE
	$(STATIC) --profile guestd -p guestd
	@mkdir -p $(dir $@)
	@cmp -s $(TARGET)/$(STATIC_TARGET)/guestd/guestd $@ || cp $(TARGET)/$(STATIC_TARGET)/guestd/guestd $@

appliance: build
	$(TARGET)/release/appliance build

PREFIX ?= /usr/local
# Each prints its own page.
MANUALS := virt-alignment-scan virt-cat virt-df virt-filesystems virt-get-kernel virt-inspector virt-log virt-tail
PROGRAMS := appliance guestfish guestmount guestunmount img nbd virt-copy-out virt-diff virt-ls virt-tar-out vmm-mini \
	$(MANUALS)

# Also without having been root for the build.
install:
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec $(DESTDIR)$(PREFIX)/share/man/man1
	install $(addprefix $(TARGET)/release/,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin
	install $(AGENT) $(DESTDIR)$(PREFIX)/libexec
	$(TARGET)/release/img man > $(DESTDIR)$(PREFIX)/share/man/man1/img.1
	$(TARGET)/release/nbd man > $(DESTDIR)$(PREFIX)/share/man/man1/nbd.1
	for program in $(MANUALS); do \
	    $(TARGET)/release/$$program --manual-page > $(DESTDIR)$(PREFIX)/share/man/man1/$$program.1 || exit 1; done

demo: build
	@scripts/install-packages demo
	scripts/demo

test:
	@scripts/install-packages test
	@$(MAKE) --no-print-directory appliance
	@failed=; \
	$(CARGO) test --release --no-fail-fast --workspace --exclude guestd || failed="$$failed workspace"; \
	$(CARGO) test --release -p libimage --features schedule --test schedules || failed="$$failed schedules"; \
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$(CURDIR)/scripts/as-root \
	    $(CARGO) test --release --no-fail-fast --workspace --bin guestd $(AGENT_TESTS) || failed="$$failed guestd"; \
	[ -z "$$failed" ] || { echo "these tests failed:$$failed" >&2; exit 1; }

bench: build
	@scripts/install-packages demo
	scripts/bench

# The peer starts slowly: a quarter of an hour.
bench-guests: appliance
	@scripts/install-packages bench-guests
	scripts/bench-guests

bench-nbd: build
	@scripts/install-packages test
	scripts/bench-nbd

# Ten minutes of 64 connections with 16 requests each, every byte compared.
soak: build
	@scripts/install-packages test
	$(CARGO) test --release -p system-tests --test nbd_serve -- --ignored --nocapture

TIME ?= 60

fuzz:
	@scripts/install-packages test
	TIME=$(TIME) scripts/fuzz

check:
	@scripts/install-packages build
	$(CARGO) fmt --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

clean:
	$(CARGO) clean

FORCE:
