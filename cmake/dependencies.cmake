# SPDX-License-Identifier: Apache-2.0
# Foreign libraries, all from Debian 12 (deploy/install-deps.sh). Each is linked by the folder that wraps it.
find_package(PkgConfig REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
pkg_check_modules(ISCSI REQUIRED IMPORTED_TARGET libiscsi>=1.19)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb>=0.9.24)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(CYAML REQUIRED IMPORTED_TARGET libcyaml>=1.3)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1>=0.2)
find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)
find_program(PYTHON3 NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)

# libsgutils2 has no pkg-config file.
find_path(SGUTILS_INCLUDE scsi/sg_lib.h REQUIRED)
find_library(SGUTILS_LIBRARY sgutils2 REQUIRED)
add_library(sgutils2 INTERFACE IMPORTED)
target_include_directories(sgutils2 INTERFACE ${SGUTILS_INCLUDE})
target_link_libraries(sgutils2 INTERFACE ${SGUTILS_LIBRARY})
