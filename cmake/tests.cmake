# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)

# Leaks and failed teardown checks pass green in Criterion unless the process aborts.
set(SENSEBUS_TEST_ENVIRONMENT
  "ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lib/lsan.supp")

# A Criterion test: sensebus_unit_test(unit.runtime.log SOURCES … USES …)
function(sensebus_unit_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  string(REPLACE "." "_" target ${name})
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE sensebus_flags ${arg_USES} PkgConfig::CRITERION)
  # Criterion's Test() and parameter macros define functions without prototypes.
  target_compile_options(${target} PRIVATE -Wno-missing-prototypes -Wno-conversion -UNDEBUG)
  add_test(NAME ${name} COMMAND ${target} --jobs 1 --timeout 500)
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${SENSEBUS_TEST_ENVIRONMENT}" TIMEOUT 600 LABELS unit)
endfunction()

# Any program or script as a test: sensebus_script_test(name LABEL label TIMEOUT s [COST s] COMMAND …)
# Exit status 77 means skipped. COST: about how long it takes, when that is long: of several at a time those begin first.
function(sensebus_script_test name)
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT;COST" "COMMAND" ${ARGN})
  add_test(NAME ${name} COMMAND ${arg_COMMAND})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABEL}" TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77
    ENVIRONMENT "${SENSEBUS_TEST_ENVIRONMENT};SENSEBUS_BUILD=${PROJECT_BINARY_DIR};SENSEBUS_SOURCE=${PROJECT_SOURCE_DIR}")
  if(arg_COST)
    set_tests_properties(${name} PROPERTIES COST ${arg_COST})
  endif()
endfunction()

# A fuzz target: with SENSEBUS_FUZZ a libFuzzer program; always a test that runs the corpus once.
# sensebus_fuzz(name SOURCES … USES …): corpus in tests/fuzz/corpus/<name>
add_custom_target(sensebus_fuzzers)
function(sensebus_fuzz name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  if(SENSEBUS_FUZZ)
    add_executable(fuzz_${name} ${arg_SOURCES})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${arg_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fuzz/run_corpus.c)
  endif()
  add_dependencies(sensebus_fuzzers fuzz_${name})
  target_link_libraries(fuzz_${name} PRIVATE sensebus_flags ${arg_USES})
  target_compile_options(fuzz_${name} PRIVATE -Wno-missing-prototypes -Wno-conversion)
  if(SENSEBUS_FUZZ)
    add_test(NAME fuzz.${name} COMMAND fuzz_${name} -runs=0 ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  else()
    add_test(NAME fuzz.${name} COMMAND fuzz_${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  endif()
  set_tests_properties(fuzz.${name} PROPERTIES ENVIRONMENT "${SENSEBUS_TEST_ENVIRONMENT}" TIMEOUT 300 LABELS fuzz)
endfunction()
