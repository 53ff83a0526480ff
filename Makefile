# Everything here works on a fresh Debian 12 or 13 with Rust; the parts are in scripts/.
.POSIX:
.PHONY: help setup build test test-long soak fuzz lint demo bench instructions asan clean

DEVICE = auto
SETUP = scripts/setup

help:
	@echo 'make demo                  camera to display through the filter, with proof'
	@echo 'make demo DEVICE=emulated  the same on an emulated camera and display'
	@echo 'make test                  every test, those in the emulated machine included'
	@echo 'make test-long             hours of the tests of random, hostile and failing things'
	@echo 'make soak                  a million frames, sampled and drawn'
	@echo 'make fuzz                  hostile input by libFuzzer, a minute a target'
	@echo 'make lint                  formatting, clippy, licences and sources'
	@echo 'make bench                 speed, against the peers: tables and a plot'
	@echo 'make instructions          instructions of the pixel kernels, against a baseline'
	@echo 'make asan                  the pixel code under AddressSanitizer'
	@echo 'make build                 the plugin: target/release/libgstdmabufcpu.so'
	@echo 'make setup                 install whatever any of these needs'
	@echo 'make clean                 remove what was built'

setup:
	@$(SETUP) build run testbed aarch64 bench lint

build:
	@$(SETUP) build
	cargo build --release

test:
	@$(SETUP) build run testbed aarch64 bench
	@scripts/test

test-long:
	@$(SETUP) build run testbed fuzz
	@scripts/test-long

soak:
	@$(SETUP) build run testbed
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

clean:
	cargo clean
	rm -rf demo-output bench-output soak-output
