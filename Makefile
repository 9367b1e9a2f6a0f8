# The commands people use. `make help` lists them; everything that is made lies below _output/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
OUTPUT := _output
DEVCLUSTER := $(OUTPUT)/bin/devcluster
CLUSTER ?= dev
IMAGE_REGISTRY ?=
NODES ?= 2
IMAGES ?= 1000,10000,30000
REGISTRY ?=
BENCH ?=
UPGRADE ?=
PLATFORMS ?= linux/amd64,linux/arm64
# At most two packages under test at a time: most of them start servers of their own.
# Each run leaves its results in a file, from which the list of behaviours is made.
TEST := $(OUTPUT)/bin/gotestsum --format pkgname-and-test-fails
RESULTS := $(OUTPUT)/tests

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: prerequisites
prerequisites:
	@hack/prerequisites.sh

.PHONY: root
root:
	@[ "$$(id -u)" -eq 0 ] || { echo "the development cluster needs root; for another cluster: make up CLUSTER=current IMAGE_REGISTRY=host/path" >&2; exit 1; }

.PHONY: build
build: prerequisites ## build the five binaries for this machine into _output/bin/<os>_<arch>
	$(GO) run ./hack/images binaries

.PHONY: images
images: prerequisites ## build the images for linux/amd64 and linux/arm64 into _output/images
	$(GO) run ./hack/images build --platforms $(PLATFORMS)

.PHONY: push-images
push-images: images ## push the images: make push-images REGISTRY=host/path
	@test -n "$(REGISTRY)" || { echo "push-images needs REGISTRY=host[:port][/path]" >&2; exit 2; }
	$(GO) run ./hack/images push --registry $(REGISTRY)

.PHONY: devcluster
devcluster: prerequisites ## build the program that runs the development cluster
	@mkdir -p $(OUTPUT)/bin
	@cd hack/devcluster && GOWORK=off $(GO) build -o ../../$(DEVCLUSTER) .

.PHONY: devcluster-binaries
devcluster-binaries: devcluster ## build Kubernetes, etcd, containerd… for the development cluster
	@$(DEVCLUSTER) build

.PHONY: up
ifeq ($(CLUSTER),dev)
up: root devcluster ## a registry on a development cluster; CLUSTER=current IMAGE_REGISTRY=… for another one
else
up: prerequisites
endif
	@$(GO) run ./hack/up --cluster=$(CLUSTER) --image-registry=$(IMAGE_REGISTRY) --platforms=$(PLATFORMS) --nodes=$(NODES)

.PHONY: down
down: devcluster ## remove the development cluster with everything it made
	@$(DEVCLUSTER) down

.PHONY: generate
generate: ## regenerate clients, deep copies, OpenAPI and CRDs
	hack/update-codegen.sh

.PHONY: verify
verify: prerequisites ## format, vet, staticcheck, generated code, module files
	@hack/verify.sh

# The conformance program of the OCI distribution specification, in the version of hack/tools/go.mod.
$(OUTPUT)/bin/conformance: hack/tools/go.mod
	@mkdir -p $(OUTPUT)/bin
	@cd hack/tools && GOWORK=off $(GO) build -o ../../$(OUTPUT)/bin/conformance github.com/opencontainers/distribution-spec/conformance

# An S3 server on a directory, for the tests of object storage. It is static, because one of them runs it in a Pod.
$(OUTPUT)/bin/versitygw: hack/s3server/go.mod
	@mkdir -p $(OUTPUT)/bin
	@cd hack/s3server && GOWORK=off CGO_ENABLED=0 $(GO) build -o ../../$(OUTPUT)/bin/versitygw github.com/versity/versitygw/cmd/versitygw

# The program that docs/operate.md copies images to another storage with; static, because it runs in a Pod.
$(OUTPUT)/bin/rclone: hack/rclone/go.mod hack/rclone/main.go
	@mkdir -p $(OUTPUT)/bin
	@cd hack/rclone && GOWORK=off CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o ../../$(OUTPUT)/bin/rclone .

# An ingress controller, for the end-to-end test of exposed hosts.
$(OUTPUT)/bin/traefik: hack/ingress/go.mod hack/ingress/build.sh hack/ingress/dnsproviders.go
	@hack/ingress/build.sh

# The query engine of Prometheus, for the tests of the alerting rules.
$(OUTPUT)/bin/promrules: hack/promrules/go.mod $(wildcard hack/promrules/*.go)
	@mkdir -p $(OUTPUT)/bin
	@cd hack/promrules && GOWORK=off $(GO) build -o ../../$(OUTPUT)/bin/promrules .

# The lifecycle manager and what it needs in Pods, for test-olm. The tag keeps the programs static.
OLM := $(OUTPUT)/bin/olm
OLM_TAGS := containers_image_openpgp
$(OLM)/opm: hack/olm/go.mod hack/olm/cp/main.go
	@mkdir -p $(OLM)
	@cd hack/olm && GOWORK=off CGO_ENABLED=0 $(GO) build -tags $(OLM_TAGS) -ldflags '-s -w' -o ../../$(OLM)/ ./cp tool

$(OUTPUT)/bin/gotestsum: hack/tools/go.mod
	@mkdir -p $(OUTPUT)/bin
	@cd hack/tools && GOWORK=off $(GO) build -o ../../$(OUTPUT)/bin/ gotest.tools/gotestsum github.com/google/go-containerregistry/cmd/crane

.PHONY: test-unit
test-unit: prerequisites $(OUTPUT)/bin/gotestsum ## tests that need nothing
	@mkdir -p $(RESULTS)
	@$(TEST) --jsonfile $(RESULTS)/unit.json -- ./... image.alauda.io/api/... image.alauda.io/client-go/...
	@cd hack/devcluster && GOWORK=off ../../$(TEST) --jsonfile ../../$(RESULTS)/devcluster.json -- ./...
	@cd hack/olm && GOWORK=off ../../$(TEST) --jsonfile ../../$(RESULTS)/olm.json -- -tags $(OLM_TAGS) ./...

.PHONY: test-component
test-component: devcluster-binaries $(OUTPUT)/bin/gotestsum $(OUTPUT)/bin/conformance $(OUTPUT)/bin/versitygw $(OUTPUT)/bin/promrules ## tests against a real kube-apiserver and etcd
	@mkdir -p $(RESULTS)
	@$(TEST) --jsonfile $(RESULTS)/component.json -- -tags component -p 2 -timeout 20m $$(hack/packages-with-tag.sh component)

.PHONY: test-conformance
test-conformance: devcluster-binaries $(OUTPUT)/bin/conformance ## the OCI distribution conformance program (test-component runs it, too)
	@$(GO) test -tags component -count=1 -v -run 'TestConformanceProgram' ./test/datapath

.PHONY: test-e2e
test-e2e: up $(OUTPUT)/bin/gotestsum $(OUTPUT)/bin/traefik $(OUTPUT)/bin/versitygw $(OUTPUT)/bin/rclone ## tests with Pods and real clients on the development cluster
	@mkdir -p $(RESULTS)
	@$(TEST) --jsonfile $(RESULTS)/e2e.json -- -tags e2e -count=1 -timeout 45m ./test/e2e/...

.PHONY: test-clients
test-clients: up $(OUTPUT)/bin/gotestsum ## crane, skopeo, podman, oras, helm, cosign and others against the development cluster
	@hack/clients.sh
	@mkdir -p $(RESULTS)
	@$(TEST) --jsonfile $(RESULTS)/clients.json -- -tags clients -count=1 -parallel 2 -timeout 30m ./test/clients

.PHONY: test-runtimes
test-runtimes: images devcluster-binaries $(OUTPUT)/bin/gotestsum ## containerd 1.6, 1.7 and 2, docker, podman and skopeo read what the node agent writes; programs for arm64 run
	@hack/runtimes.sh
	@mkdir -p $(RESULTS)
	@$(TEST) --jsonfile $(RESULTS)/runtimes.json -- -tags runtimes -count=1 -timeout 20m ./test/runtimes

.PHONY: test-upgrade
test-upgrade: up $(OUTPUT)/bin/gotestsum ## from the release before this one, and both mixed; needs the history: UPGRADE='-mixed 10m'
	@mkdir -p $(RESULTS)
	@$(TEST) --jsonfile $(RESULTS)/upgrade.json -- -tags upgrade -count=1 -timeout 60m ./test/upgrade $(UPGRADE)

.PHONY: test-olm
test-olm: up $(OUTPUT)/bin/gotestsum $(OLM)/opm ## installation, upgrade and removal by the real lifecycle manager; ends with a new make up
	@mkdir -p $(RESULTS)
	@$(TEST) --jsonfile $(RESULTS)/olm-lifecycle.json -- -tags olm -count=1 -timeout 30m ./test/olm

.PHONY: behaviours
behaviours: ## which behaviours of the specifications are tested, after the tests have run
	@$(GO) run ./hack/behaviours

.PHONY: test
test: verify test-unit test-component test-e2e behaviours ## everything

.PHONY: bench
bench: devcluster-binaries ## benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./test/bench/... ./pkg/...
	$(GO) test -tags component -run '^$$' -bench . -benchmem -timeout 30m ./test/bench/imageapi
	$(GO) run ./test/bench/registry

.PHONY: bench-registry
bench-registry: prerequisites ## the data plane beside distribution and a file server; BENCH=-full takes half an hour
	@mkdir -p $(OUTPUT)
	@$(GO) run ./test/bench/registry $(BENCH) | tee $(OUTPUT)/bench-registry.md

.PHONY: bench-storage
bench-storage: devcluster-binaries ## what images cost in each storage backend: make bench-storage IMAGES=1000,10000
	@$(GO) run ./hack/bench-storage -images $(IMAGES)

.PHONY: bench-idle
bench-idle: ## what the product costs while nobody uses it
	@KUBECONFIG=$(OUTPUT)/devcluster/kubeconfig $(GO) run ./test/bench/idle

.PHONY: bench-pullsecrets
bench-pullsecrets: devcluster-binaries ## managed pull secrets of 10,000 ServiceAccounts, half an hour; BENCH=-rotate adds a rotation of the signing key
	@$(GO) run ./test/bench/pullsecrets $(BENCH)

.PHONY: bench-pruner
bench-pruner: devcluster-binaries ## what a prune costs with up to 200,000 images: make bench-pruner BENCH='-real -images 10000,30000'
	@$(GO) run ./test/bench/pruner $(BENCH)

.PHONY: clean
clean: down ## remove everything that was made
	rm -rf $(OUTPUT)
