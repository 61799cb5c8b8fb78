# SPDX-License-Identifier: Apache-2.0
# C code from .proto files: sensebus_messages(target ROOT dir FILES a/b.proto …)
# Headers land in ${PROJECT_BINARY_DIR}/messages: #include "sensebus/v1/event.pb-c.h".
function(sensebus_messages target)
  cmake_parse_arguments(arg "" "ROOT" "FILES" ${ARGN})
  set(out ${PROJECT_BINARY_DIR}/messages)
  file(MAKE_DIRECTORY ${out})
  set(sources)
  foreach(file IN LISTS arg_FILES)
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem ${file})
    add_custom_command(
      OUTPUT ${out}/${stem}.c ${out}/${stem}.h
      COMMAND ${PROTOC_C} --proto_path=${arg_ROOT} --c_out=${out} ${arg_ROOT}/${file}
      DEPENDS ${arg_ROOT}/${file} VERBATIM)
    list(APPEND sources ${out}/${stem}.c)
  endforeach()
  add_library(${target} STATIC ${sources})
  # Generated code is not ours to warn about.
  target_compile_options(${target} PRIVATE -w)
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C sensebus_sanitize)
endfunction()
