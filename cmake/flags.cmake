# SPDX-License-Identifier: Apache-2.0
# Flags as a target, so that nothing is global: every library and program of ours links sensebus_flags privately.
find_package(Threads REQUIRED)

add_library(sensebus_flags INTERFACE)
target_compile_options(sensebus_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wconversion
  -Wno-missing-field-initializers -fno-strict-aliasing -fstack-protector-strong)
# Error texts are cut to their buffers on purpose.
target_compile_options(sensebus_flags INTERFACE $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>)
# gcc checks sign conversions too; clang's check also refuses enum to int and `assert(x && "text")`.
target_compile_options(sensebus_flags INTERFACE
  $<$<C_COMPILER_ID:Clang>:-Wno-sign-conversion> $<$<C_COMPILER_ID:Clang>:-Wno-string-conversion>)
target_compile_definitions(sensebus_flags INTERFACE _GNU_SOURCE SENSEBUS_VERSION="${PROJECT_VERSION}")
target_include_directories(sensebus_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
if(SENSEBUS_WERROR)
  target_compile_options(sensebus_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_definitions(sensebus_flags INTERFACE _FORTIFY_SOURCE=2)
endif()

# Sanitizers must reach generated code too, so they are an interface of their own.
add_library(sensebus_sanitize INTERFACE)
if(SENSEBUS_SANITIZE)
  target_compile_options(sensebus_sanitize INTERFACE
    -fsanitize=${SENSEBUS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  target_link_options(sensebus_sanitize INTERFACE -fsanitize=${SENSEBUS_SANITIZE})
endif()
if(SENSEBUS_FUZZ)
  target_compile_options(sensebus_sanitize INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_link_libraries(sensebus_flags INTERFACE sensebus_sanitize)

# One static library a folder: sensebus_library(name SOURCES … USES …)
function(sensebus_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE sensebus_flags PUBLIC sensebus_sanitize ${arg_USES})
endfunction()

# sensebus_program(name SOURCES … USES …)
function(sensebus_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE sensebus_flags ${arg_USES})
endfunction()
