# SPDX-License-Identifier: Apache-2.0
# For tests that use tests/lib/failing_alloc.h: sensebus_failing_alloc(target)
function(sensebus_failing_alloc target)
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/lib/failing_alloc.c)
  target_link_options(${target} PRIVATE LINKER:--wrap=malloc LINKER:--wrap=calloc LINKER:--wrap=realloc
    LINKER:--wrap=strdup)
endfunction()
