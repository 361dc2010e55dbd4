# The front door. `make` builds the shared library, `make help` says what else there is.

VERSION := $(shell sed -n 's/.define SFT_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' include/qwensft.h | paste -sd.)
PREFIX ?= /usr/local
LIBDIR ?= lib
DESTDIR ?=
MODEL ?= Examples/tiny-qwen2
OUTPUT ?= build/demo/fine-tuned
LR ?=

LIB := build/lib
SO := libqwensft.so
TOOL := build/bin/qwen-sft
PYTHON := .venv/bin/python
TORCH_PYTHON ?= .venv-torch/bin/python
TORCH_READY := $(if $(filter .venv-torch/%,$(TORCH_PYTHON)),.venv-torch/ready)
CC ?= cc
SWIFT_SOURCES := Package.swift Sources Tests Benchmarks Examples/swift CommandLineTool
SOURCES := Package.swift include scripts/exported-symbols.map $(shell find Sources include -type f)

# Allocations of the Swift runtime go through Sources/CMemory/reserve.c, which has a reserve for when memory runs out.
WRAP_MEMORY := $(foreach name,malloc calloc realloc aligned_alloc posix_memalign _Znwm,-Xlinker --wrap=$(name))

# The Swift runtime is linked in, only sft_* is exported, the library stays loaded once it is (its threads outlive a
# dlclose), and no directory of this machine is remembered. Its own scratch path, because these flags build every module anew.
BUILD_LIBRARY := swift build -c release --product qwensft --scratch-path .build/shared --disable-local-rpath \
	-Xswiftc -static-stdlib -Xswiftc -no-toolchain-stdlib-rpath -Xlinker -soname=$(SO).0 -Xlinker -z -Xlinker nodelete \
	-Xlinker --version-script=scripts/exported-symbols.map -Xlinker --gc-sections -Xswiftc -use-ld=lld $(WRAP_MEMORY)

# SwiftPM does not notice new files of a package that it depends on by path, unless it has no plan.
FORGET_PLAN := rm -f .build/tool/release.yaml
# With the Swift runtime inside, so that it runs where there is no Swift.
BUILD_TOOL := swift build -c release --package-path CommandLineTool --scratch-path .build/tool --product qwen-sft --static-swift-stdlib

.PHONY: build tool demo test test-builds build-swift-tests build-tool-tests build-example test-swift test-templates test-emulated test-kernels test-tool test-example test-c test-mutated stress sanitize test-python test-files test-faces check-real check-gguf bench-train bench-adapters bench-scaling bench-learning bench-kernels bench-chat bench-templates bench-tokenizer wheel test-wheel dist test-dist test-abi abi test-swift-version docs docc bindings test-languages test-install manual install install-library uninstall lint format clean help

build: $(LIB)/$(SO) ## build/lib/libqwensft.so

$(LIB)/$(SO): $(SOURCES)
	@scripts/dependencies.sh build
	$(BUILD_LIBRARY)
	@scripts/place-library.sh .build/shared/release/$(SO) $(LIB) $(VERSION)

tool: $(TOOL) ## build/bin/qwen-sft, the command-line tool

$(TOOL): $(SOURCES) $(shell find CommandLineTool -name '*.swift' -not -path '*/.build/*')
	@scripts/dependencies.sh build
	@$(FORGET_PLAN)
	$(BUILD_TOOL)
	@install -D -s .build/tool/release/qwen-sft $@

demo: tool ## ask, fine-tune, ask again, save (MODEL=DIR: with another checkpoint)
	@$(TOOL) demo "$(MODEL)" --output "$(OUTPUT)" --overwrite $(if $(LR),--lr $(LR))

test: ## install what the tests need and run all of them
	@scripts/dependencies.sh build
	@scripts/dependencies.sh test
	$(MAKE) -j2 test-builds
	$(MAKE) test-swift test-templates test-kernels test-tool test-example test-c test-python test-files test-faces test-install test-languages test-abi

# Side by side: the compiler keeps one processor busy with each.
test-builds: build-swift-tests build-tool-tests build build-example

build-swift-tests:
	swift test list -c release --quiet >/dev/null

build-tool-tests:
	@$(FORGET_PLAN)
	swift test list -c release --package-path CommandLineTool --scratch-path .build/tool --quiet >/dev/null

build-example:
	swift build -c release --package-path Examples/swift --scratch-path .build/example --quiet

test-swift: build ## the core's own tests
	swift test -c release --no-parallel --quiet # one test limits the instruction set of all

# With the tests: built alone, the program would have other flags, and all would be compiled again.
test-templates: build-swift-tests .venv/ready ## chat templates beside Jinja2, over random conversations (TEMPLATES="FILE DIR …" CONVERSATIONS=20)
	$(PYTHON) Tests/Templates/check_templates.py .build/release/render-templates $(TEMPLATES) --conversations $(or $(CONVERSATIONS),20)

test-emulated: ## the core's own tests with the kernels for AVX-512, on any processor with AVX2
	swift test -c release --no-parallel --quiet --scratch-path .build/emulated -Xcc -DQK_EMULATES_AVX512

test-kernels: ## every variant of the kernels beside its plain definition, those for AVX-512 emulated
	@scripts/test-kernels.sh

test-tool: ## the command-line tool
	@$(FORGET_PLAN)
	swift test -c release --package-path CommandLineTool --scratch-path .build/tool --quiet

test-example: ## Examples/swift, a package that uses this one
	@scripts/test-swift-example.sh

test-c: build ## header, C tests and C examples, as C11 and as C++17
	@scripts/dependencies.sh test
	@scripts/test-c.sh

test-mutated: build ## damaged files of every kind (COUNT=38000 SEED=0)
	@scripts/dependencies.sh test
	@mkdir -p build/test-c
	$(CC) -O1 -Iinclude -ITests/C Tests/C/mutated_files_test.c -Lbuild/lib -lqwensft -Wl,-rpath,$(CURDIR)/build/lib -o build/test-c/mutated_files
	build/test-c/mutated_files "$(MODEL)" $(or $(COUNT),38000) $(or $(SEED),0)

stress: build ## the long form of the tests of callbacks and threads (SECONDS=, CALLS=)
	@scripts/stress.sh $(SECONDS) $(CALLS)

sanitize: build .venv/ready ## C, Python and part of the Swift tests under ASan, UBSan and TSan
	@for sanitizer in address undefined thread; do scripts/sanitize.sh $$sanitizer || exit 1; done

test-python: build .venv/ready ## the Python package
	PYTHONPATH=bindings/python/src $(PYTHON) -m pytest -q bindings/python/tests

test-files: build .venv/ready ## saves that are killed, and system calls that fail (KILLS=60 FAULTS=0: the long form)
	@PYTHON=$(PYTHON) scripts/test-files.sh $(or $(KILLS),4) $(or $(FAULTS),60)

test-faces: test-c test-example test-tool .venv/ready ## the same losses from C, Python, Swift and the tool
	@PYTHON=$(PYTHON) scripts/test-faces.sh

check-real: build $(TORCH_READY) ## the article's experiment on a real checkpoint (MODEL=DIR), beside PyTorch
	$(TORCH_PYTHON) Tests/check_real.py "$(MODEL)"

check-gguf: build ## answers of llama.cpp from exported files beside the library's (MODEL=DIR, PYTHON with llama-cpp-python)
	PYTHONPATH=bindings/python/src $(PYTHON) Tests/check_gguf.py "$(MODEL)"

# Benchmarks with ISA=avx2 or ISA=avx512: this library (which reads ISA there) and its peers as on a processor without more.
ifdef ISA
BENCHMARKS = bench-train bench-adapters bench-scaling bench-learning bench-kernels bench-chat bench-tokenizer
$(BENCHMARKS): export ISA := $(ISA)
$(BENCHMARKS): export ATEN_CPU_CAPABILITY = $(ISA)
$(BENCHMARKS): export ONEDNN_MAX_CPU_ISA = $(or $(ONEDNN_$(ISA)),$(error ISA is avx2 or avx512, not $(ISA)))
$(BENCHMARKS): export OPENBLAS_CORETYPE = $(OPENBLAS_$(ISA))
ONEDNN_avx2 = AVX2
ONEDNN_avx512 = AVX512_CORE
OPENBLAS_avx2 = Haswell
OPENBLAS_avx512 = SkylakeX
endif

bench-train: build $(TORCH_READY) ## training steps beside PyTorch's, in one run (MODEL=DIR, DATA=gsm8k.jsonl, ISA=avx2)
	swift build -c release --product bench-kernels
	$(TORCH_PYTHON) Benchmarks/train.py --model "$(MODEL)" $(if $(DATA),--data "$(DATA)")

bench-adapters: build $(TORCH_READY) ## an adapter's steps, memory and answers beside the full step and PEFT (MODEL=DIR)
	PYTHONPATH=bindings/python/src $(TORCH_PYTHON) Benchmarks/adapters.py --model "$(MODEL)" --peft float32

bench-kernels: ## matrix products beside OpenBLAS (KERNELS="gemm threads=1", ISA=avx2)
	swift build -c release --product bench-kernels
	.build/release/bench-kernels $(KERNELS)

bench-scaling: build .venv/ready ## training steps by threads, recomputation and length (MODEL=DIR)
	PYTHONPATH=bindings/python/src $(PYTHON) Benchmarks/scaling.py --model "$(MODEL)"

bench-learning: build .venv/ready ## what bfloat16 learns beside float32 (MODEL=DIR DATA=gsm8k.jsonl)
	PYTHONPATH=bindings/python/src $(PYTHON) Benchmarks/learning.py --model "$(MODEL)" --data "$(DATA)"

# Ready once everything is installed: the interpreter alone is there before that, and is a link to the system's.
.venv/ready: bindings/python/requirements-test.txt
	@scripts/dependencies.sh test
	python3 -m venv .venv
	$(PYTHON) -m pip install -q -r $<
	@touch $@

# PyTorch in a venv of its own: hundreds of megabytes that no test needs.
.venv-torch/ready:
	@scripts/dependencies.sh test
	python3 -m venv .venv-torch
	$(TORCH_PYTHON) -m pip install -q torch==2.13.0+cpu 2>/dev/null || $(TORCH_PYTHON) -m pip install -q torch
	$(TORCH_PYTHON) -m pip install -q transformers peft safetensors numpy
	@touch $@

wheel: build .venv-wheel/ready ## dist/*.whl: the Python package with the library and OpenBLAS inside
	@scripts/make-wheel.sh $(LIB)/$(SO) .venv-wheel/bin/python

test-wheel: wheel ## the Python package's tests with the wheel in an empty venv (ROOT=DIR: in a minimal Debian made there)
	@scripts/test-wheel.sh dist/qwensft-*.whl $(ROOT)

.venv-wheel/ready: bindings/python/requirements-wheel.txt
	@scripts/dependencies.sh test
	python3 -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install -q -r $<
	@touch $@

dist: wheel tool ## what a release consists of, in dist/: source archive, wheel, binary archive, checksums
	@scripts/make-dist.sh $(VERSION) .venv-wheel/bin/python

test-swift-version: ## a package that depends on this one by URL and version, from a clone with a tag
	@scripts/test-swift-version.sh $(VERSION)

test-dist: ## dist/ as those see it who fetch it
	@scripts/dependencies.sh install-test
	@scripts/test-dist.sh $(VERSION)

VENV_CHAT = .venv-bench-chat$(ISA:%=-%)

bench-chat: $(VENV_CHAT)/ready ## chat speed beside llama.cpp and PyTorch (MODEL=DIR, DATA=gsm8k.jsonl)
	swift build -c release --product bench-chat
	$(VENV_CHAT)/bin/python Benchmarks/chat.py .build/release/bench-chat "$(MODEL)" $(if $(DATA),--loss "$(DATA)")

# llama.cpp is compiled here, for this processor or for ISA: a published wheel, if there is one, is for an older instruction set.
GGML = $(if $(ISA),-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_AVX512=$(if $(filter avx2,$(ISA)),OFF,ON),-DGGML_NATIVE=ON)

$(VENV_CHAT)/ready: Benchmarks/requirements-chat.txt
	@scripts/dependencies.sh test
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install -q torch==2.13.0+cpu 2>/dev/null || $(@D)/bin/python -m pip install -q torch
	CMAKE_ARGS="$(GGML) -DLLAVA_BUILD=OFF" CMAKE_BUILD_PARALLEL_LEVEL=2 \
		$(@D)/bin/python -m pip install -q --no-binary llama-cpp-python -r $<
	@touch $@

bench-templates: build ## chat templates rendered (TOKENIZER=DIR TEMPLATE=FILE)
	@mkdir -p build/bench
	$(CC) -O2 -Iinclude Benchmarks/templates.c -Lbuild/lib -lqwensft -Wl,-rpath,$(CURDIR)/build/lib -o build/bench/templates
	build/bench/templates "$(TOKENIZER)" "$(TEMPLATE)"

bench-tokenizer: build .venv-bench-tokenizer/ready ## text to ids beside other tokenizers (TOKENIZER=DIR, DATA="FILE ...")
	@mkdir -p build/bench
	$(CC) -O2 -Iinclude Benchmarks/Tokenizer/tokenizer.c -Lbuild/lib -lqwensft -Wl,-rpath,$(CURDIR)/build/lib -o build/bench/tokenizer
	PYTHONPATH=bindings/python/src .venv-bench-tokenizer/bin/python Benchmarks/tokenizer.py build/bench/tokenizer \
		$(if $(TOKENIZER),--tokenizer "$(TOKENIZER)") $(if $(DATA),--data $(DATA))

.venv-bench-tokenizer/ready: Benchmarks/requirements-tokenizer.txt
	@scripts/dependencies.sh test
	python3 -m venv .venv-bench-tokenizer
	.venv-bench-tokenizer/bin/python -m pip install -q -r $<
	@touch $@

test-install: build ## install into odd places, build C programs against it by pkg-config and CMake, remove it
	@scripts/dependencies.sh install-test
	@scripts/test-install.sh $(VERSION)

test-languages: build ## the examples in Rust, Go, Java, Lua and SQLite, where those are installed
	@scripts/test-languages.sh $(VERSION)

test-abi: ## the header's binary interface beside the last release's (Debian: abigail-tools)
	@python3 scripts/check_abi.py
	@if command -v abidiff >/dev/null; then python3 Tests/ABI/check_mutations.py; fi

abi: ## Tests/ABI made anew, which a release does
	python3 scripts/check_abi.py || true
	python3 scripts/check_abi.py --accept

docs: .venv-docs/ready ## build/docs, the documents as a site
	@scripts/make-docs.sh .venv-docs/bin/python

docc: ## build/docc, the reference of the Swift package
	@scripts/make-docc.sh

.venv-docs/ready: scripts/site/requirements.txt
	@scripts/dependencies.sh test
	python3 -m venv .venv-docs
	.venv-docs/bin/python -m pip install -q -r $<
	@touch $@

manual: ## docs/qwen-sft.1, made anew from the tool's help
	@$(FORGET_PLAN)
	swift package --package-path CommandLineTool --scratch-path .build/tool plugin generate-manual
	cp .build/tool/plugins/GenerateManual/outputs/qwen-sft/qwen-sft.1 docs/

install: build tool ## library, header, pkg-config file, CMake package, tool to PREFIX (/usr/local; also LIBDIR, DESTDIR)
	@PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" DESTDIR="$(DESTDIR)" scripts/install.sh $(VERSION)

install-library: build ## the same without the tool, whose build fetches swift-argument-parser
	@PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" DESTDIR="$(DESTDIR)" scripts/install.sh $(VERSION)

uninstall: ## remove what install put there
	@PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" DESTDIR="$(DESTDIR)" scripts/uninstall.sh

bindings: ## what Python, Swift, the linker and docs/c-api.md know of the header, made anew from it
	python3 scripts/make_bindings.py
	python3 scripts/make_struct_table.py

lint: .venv/lint-ready ## formatting of Swift sources, who may use whom, Python's errors and types
	python3 scripts/check-rules.py
	swift format lint --strict --recursive $(SWIFT_SOURCES)
	.venv/bin/ruff check -q bindings/python scripts Tests Benchmarks Examples
	.venv/bin/mypy --config-file bindings/python/pyproject.toml bindings/python/src/qwensft
	PYTHONPATH=bindings/python/src .venv/bin/python scripts/check_types.py 98

.venv/lint-ready: .venv/ready bindings/python/requirements-lint.txt
	$(PYTHON) -m pip install -q -r bindings/python/requirements-lint.txt
	@touch $@

format: ## format Swift sources in place
	swift format --in-place --recursive $(SWIFT_SOURCES)

clean: ## remove everything that was built
	rm -rf .build build dist .venv .venv-*

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24
