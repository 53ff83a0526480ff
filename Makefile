# Everything here works on a fresh Debian 12 or 13 with Rust; the parts are in scripts/.
.POSIX:
.PHONY: help setup build install deb cross test test-matrix test-cross test-long soak fuzz lint \
	demo bench instructions asan tsan valgrind clean

DEVICE = auto
VERSIONS = 1.26 1.28
PREFIX = /usr/local
SETUP = scripts/setup

help:
	@echo 'make demo                  camera to display through the filter, with proof'
	@echo 'make demo DEVICE=emulated  the same on an emulated camera and display'
	@echo 'make test                  every test, those in the emulated machine included'
	@echo 'make test-matrix           the emulated machine with GStreamer 1.26 and 1.28 (VERSIONS=…)'
	@echo 'make test-long             hours of the tests of random, hostile and failing things'
	@echo 'make soak                  a million frames, sampled and drawn'
	@echo 'make fuzz                  hostile input by libFuzzer, a minute a target'
	@echo 'make lint                  formatting, clippy, documentation, dependencies'
	@echo 'make bench                 speed, against the peers: tables and a plot'
	@echo 'make instructions          instructions of the pixel kernels, against a baseline'
	@echo 'make asan                  the pixel code under AddressSanitizer'
	@echo 'make valgrind              elements and pools under memcheck'
	@echo 'make tsan                  all with threads under ThreadSanitizer'
	@echo 'make build                 the plugin: target/release/libgstdmabufcpu.so'
	@echo 'make install               it, its libraries and programs, below PREFIX (/usr/local)'
	@echo 'make deb                   Debian packages: target/deb/*.deb'
	@echo 'make cross                 the plugin for 64-bit Arm, against Debian 12'
	@echo 'make test-cross            tests of it on an emulated Arm processor'
	@echo 'make setup                 install whatever any of these needs'
	@echo 'make clean                 remove what was built'

setup:
	@$(SETUP) build run test matrix aarch64 bench deb fuzz tsan lint

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
