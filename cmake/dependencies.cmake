# SPDX-License-Identifier: Apache-2.0
# Foreign libraries, all from Debian 12 (deploy/install-deps.sh). Each is linked by the folder that wraps it.
find_package(PkgConfig REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
pkg_check_modules(MNL REQUIRED IMPORTED_TARGET libmnl>=1.0.4)
pkg_check_modules(ISCSI REQUIRED IMPORTED_TARGET libiscsi>=1.19)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb>=0.9.24)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(CYAML REQUIRED IMPORTED_TARGET libcyaml>=1.3)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1>=0.2)
pkg_check_modules(TRACEFS REQUIRED IMPORTED_TARGET libtracefs>=1.6)
pkg_check_modules(TRACEEVENT REQUIRED IMPORTED_TARGET libtraceevent>=1.7)
find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)
find_program(PYTHON3 NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)

# libsgutils2 has no pkg-config file.
find_path(SGUTILS_INCLUDE scsi/sg_lib.h REQUIRED)
find_library(SGUTILS_LIBRARY sgutils2 REQUIRED)
add_library(sgutils2 INTERFACE IMPORTED)
target_include_directories(sgutils2 INTERFACE ${SGUTILS_INCLUDE})
target_link_libraries(sgutils2 INTERFACE ${SGUTILS_LIBRARY})

# The agent's programs for the kernel. Without them it sees less of its own kernel, and says so in its coverage: that is
# asked for, never silent.
if(SENSEBUS_BPF)
  pkg_check_modules(BPF REQUIRED IMPORTED_TARGET libbpf>=1.1)
  find_program(BPF_CLANG NAMES clang clang-14)
  find_program(BPFTOOL bpftool PATHS /usr/sbin /sbin)
  if(NOT BPF_CLANG OR NOT BPFTOOL)
    message(FATAL_ERROR "clang and bpftool are needed to build the agent's BPF programs: run deploy/install-deps.sh, "
                        "or build without them (-DSENSEBUS_BPF=OFF)")
  endif()
  # As libbpf names the processors in __TARGET_ARCH_*.
  string(REGEX MATCH "^(x86|aarch64|arm|ppc|s390|riscv|mips|loongarch)" BPF_ARCHITECTURE "${CMAKE_SYSTEM_PROCESSOR}")
  string(REGEX REPLACE "^aarch64$" "arm64" BPF_ARCHITECTURE "${BPF_ARCHITECTURE}")
  string(REGEX REPLACE "^ppc$" "powerpc" BPF_ARCHITECTURE "${BPF_ARCHITECTURE}")
  if(NOT BPF_ARCHITECTURE)
    message(FATAL_ERROR "BPF programs for ${CMAKE_SYSTEM_PROCESSOR} are not known: build without (-DSENSEBUS_BPF=OFF)")
  endif()
endif()
