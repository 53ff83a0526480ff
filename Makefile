# Everything here works on a fresh Debian 12 or 13 with Rust; the parts are in scripts/.
.POSIX:
.PHONY: help setup build install deb test test-matrix lint demo bench instructions asan clean

DEVICE = auto
VERSIONS = 1.26 1.28
PREFIX = /usr/local
SETUP = scripts/setup

help:
	@echo 'make demo                  camera to display through the filter, with proof'
	@echo 'make demo DEVICE=emulated  the same on an emulated camera and display'
	@echo 'make test                  every test, those in the emulated machine included'
	@echo 'make test-matrix           the emulated machine with GStreamer 1.26 and 1.28 (VERSIONS=…)'
	@echo 'make lint                  formatting, clippy, licences and sources'
	@echo 'make bench                 speed, against the peers: tables and a plot'
	@echo 'make instructions          instructions of the pixel kernels, against a baseline'
	@echo 'make asan                  the pixel code under AddressSanitizer'
	@echo 'make build                 the plugin: target/release/libgstdmabufcpu.so'
	@echo 'make install               it, its libraries and programs, below PREFIX (/usr/local)'
	@echo 'make deb                   Debian packages: target/deb/*.deb'
	@echo 'make setup                 install whatever any of these needs'
	@echo 'make clean                 remove what was built'

setup:
	@$(SETUP) build run matrix aarch64 bench deb lint

build:
	@$(SETUP) build
	cargo build --release

install:
	@$(SETUP) build
	@scripts/install --prefix='$(PREFIX)' --libdir='$(LIBDIR)' --destdir='$(DESTDIR)'

deb:
	@$(SETUP) build deb
	@scripts/deb

test:
	@$(SETUP) build run matrix aarch64 bench deb
	@scripts/test

test-matrix:
	@$(SETUP) build run matrix
	@scripts/test-matrix $(VERSIONS)

lint:
	@$(SETUP) build lint
	@scripts/lint

demo:
	@$(SETUP) build run
	@scripts/demo $(DEVICE)

bench:
	@$(SETUP) build run
	@scripts/bench

instructions:
	@$(SETUP) bench
	@scripts/instructions

asan:
	@$(SETUP) build
	@scripts/asan

clean:
	cargo clean
	rm -rf demo-output bench-output
