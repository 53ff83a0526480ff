# Every target works on a fresh Debian 12 or 13 with Rust. The scripts are in scripts/.
.POSIX:
.PHONY: help setup check build install deb cross test test-matrix test-cross test-long soak fuzz lint \
	demo bench instructions model asan tsan valgrind clean

DEVICE = auto
VERSIONS = 1.26 1.28
PREFIX = /usr/local
SETUP = scripts/setup

help:
	@echo 'make demo                  show a camera on a display through the filter, with proof'
	@echo 'make demo DEVICE=emulated  the same with an emulated camera and display'
	@echo 'make check                 check format, clippy and tests of the changed crates'
	@echo 'make test                  run every test, including those in the emulated machine'
	@echo 'make test-matrix           run the emulated machine with GStreamer 1.26 and 1.28 (VERSIONS=…)'
	@echo 'make test-long             run the random, hostile-input and fault tests for hours'
	@echo 'make soak                  run a million frames, with samples and plots'
	@echo 'make fuzz                  fuzz with libFuzzer, a minute per target'
	@echo 'make lint                  check formatting, clippy, documentation, dependencies'
	@echo 'make bench                 compare speed with other elements: tables and a plot'
	@echo 'make instructions          compare instruction counts of pixel kernels with a baseline'
	@echo 'make model                 compute cycles per byte of the kernels on Arm and x86 processors'
	@echo 'make asan                  test the pixel code under AddressSanitizer'
	@echo 'make valgrind              test elements and pools under memcheck'
	@echo 'make tsan                  test threaded code under ThreadSanitizer'
	@echo 'make build                 build the plugin: target/release/libgstdmabufcpu.so'
	@echo 'make install               install plugin, libraries and programs in PREFIX (/usr/local)'
	@echo 'make deb                   build Debian packages: target/deb/*.deb'
	@echo 'make cross                 build the plugin for 64-bit Arm against Debian 12'
	@echo 'make test-cross            test it on an emulated Arm processor'
	@echo 'make setup                 install everything these targets need'
	@echo 'make clean                 remove all build output'

setup:
	@$(SETUP) build run test matrix aarch64 bench model deb fuzz tsan lint

build:
	@$(SETUP) build
	cargo build --release

install:
	@$(SETUP) build
	@scripts/install --prefix='$(PREFIX)' --libdir='$(LIBDIR)' --destdir='$(DESTDIR)'

deb:
	@$(SETUP) build deb
	@scripts/deb

check:
	@$(SETUP) build test lint
	@scripts/check

test:
	@$(SETUP) build run test matrix aarch64 bench deb
	@scripts/test

test-matrix:
	@$(SETUP) build run test matrix
	@scripts/test-matrix $(VERSIONS)

cross:
	@$(SETUP) aarch64
	@scripts/cross build --release --lib --bins

test-cross:
	@$(SETUP) aarch64
	@tests/aarch64/run-plugin-tests

test-long:
	@$(SETUP) build run test testbed bench fuzz tsan
	@scripts/test-long

soak:
	@$(SETUP) build run test testbed
	@scripts/soak

fuzz:
	@$(SETUP) build fuzz
	@scripts/fuzz

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

model:
	@$(SETUP) aarch64 model
	@scripts/model

asan:
	@$(SETUP) build
	@scripts/asan

tsan:
	@$(SETUP) build test tsan
	@scripts/tsan

valgrind:
	@$(SETUP) build run test bench
	@scripts/valgrind all

clean:
	cargo clean
	rm -rf demo-output bench-output soak-output
