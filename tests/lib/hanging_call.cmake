# SPDX-License-Identifier: Apache-2.0
# For programs that use tests/lib/hanging_call.h: sensebus_hanging_call(target)
function(sensebus_hanging_call target)
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/lib/hanging_call.c)
  target_link_options(${target} PRIVATE LINKER:--wrap=readdir LINKER:--wrap=ioctl)
endfunction()
