# SPDX-License-Identifier: Apache-2.0
# Debian packages: cmake --preset release && cmake --build build/release && (cd build/release && cpack -G DEB)
#
#   sensebus-broker   sensebus-broker and sensebus-store, their unit and configuration
#   sensebus-agent    sensebus-agent, its unit and settings
#   sensebus          the command line
#   sensebus-target   the iSCSI target for tests, where it is built (SENSEBUS_TARGET or SENSEBUS_TESTS)
#
# A package is a component. What is in the first three is installed by its component alone (EXCLUDE_FROM_ALL): a plain
# `cmake --install` puts the programs under the prefix, and nothing below /etc and /lib.
set(SENSEBUS_PACKAGE_CONTACT "Sensebus maintainers <maintainers@sensebus.invalid>" CACHE STRING
  "Who answers for the packages: NAME <ADDRESS>")
set(package_folder ${PROJECT_SOURCE_DIR}/deploy/debian)
set(package_out ${PROJECT_BINARY_DIR}/package)

string(TIMESTAMP PACKAGE_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH where it is set
configure_file(${package_folder}/changelog.in ${package_out}/changelog @ONLY)

# Debian policy 12.7, 12.1: changelogs and manual pages are compressed, without name and time of the original.
function(package_gzip component source destination)
  cmake_path(GET destination PARENT_PATH folder)
  install(DIRECTORY DESTINATION ${folder} COMPONENT ${component} EXCLUDE_FROM_ALL) # with the modes below, whatever the umask
  install(CODE "
    set(file \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${destination}.gz\")
    execute_process(COMMAND gzip -9nc \"${source}\" OUTPUT_FILE \"\${file}\" COMMAND_ERROR_IS_FATAL ANY)
    file(CHMOD \"\${file}\" PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)"
    COMPONENT ${component} EXCLUDE_FROM_ALL)
endfunction()

# What every package has.
function(package_documents component package)
  set(doc ${CMAKE_INSTALL_DATADIR}/doc/${package})
  install(FILES ${package_folder}/copyright DESTINATION ${doc} COMPONENT ${component} EXCLUDE_FROM_ALL)
  package_gzip(${component} ${PROJECT_SOURCE_DIR}/CHANGELOG.md ${doc}/changelog)
  package_gzip(${component} ${package_out}/changelog ${doc}/changelog.Debian)
endfunction()

# Manual pages: package_pages(component FOLDER). A new one is named in a CMakeLists.txt, too, so it is seen here.
function(package_pages component folder)
  file(GLOB pages ${PROJECT_SOURCE_DIR}/${folder}/*.[1-8])
  foreach(page IN LISTS pages)
    cmake_path(GET page FILENAME name)
    cmake_path(GET page EXTENSION LAST_ONLY section) # ".8"
    string(SUBSTRING ${section} 1 -1 section)
    package_gzip(${component} ${page} ${CMAKE_INSTALL_MANDIR}/man${section}/${name})
  endforeach()
endfunction()

function(package_programs component)
  install(TARGETS ${ARGN} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT ${component} EXCLUDE_FROM_ALL)
endfunction()

# A daemon: its unit, its configuration in /etc/sensebus, and scripts that make its user and tell systemd.
function(package_daemon component program configuration)
  install(FILES ${PROJECT_SOURCE_DIR}/deploy/systemd/${program}.service DESTINATION /lib/systemd/system
    COMPONENT ${component} EXCLUDE_FROM_ALL)
  install(FILES ${package_folder}/${configuration} DESTINATION /etc/sensebus COMPONENT ${component} EXCLUDE_FROM_ALL)
  install(DIRECTORY DESTINATION /etc/sensebus/tls COMPONENT ${component} EXCLUDE_FROM_ALL)
  install(FILES ${PROJECT_SOURCE_DIR}/docs/operations.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${program}
    COMPONENT ${component} EXCLUDE_FROM_ALL)
  set(PACKAGE_PROGRAM ${program})
  set(control ${package_out}/${component})
  foreach(script postinst prerm postrm)
    configure_file(${package_folder}/${script}.in ${control}/${script} @ONLY
      FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  endforeach()
  file(CONFIGURE OUTPUT ${control}/conffiles CONTENT "/etc/sensebus/${configuration}\n")
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA
    ${control}/conffiles ${control}/postinst ${control}/prerm ${control}/postrm PARENT_SCOPE)
endfunction()

package_programs(broker sensebus-broker sensebus-store)
package_daemon(broker sensebus-broker broker.yaml)
package_pages(broker broker/man)
package_documents(broker sensebus-broker)
set(CPACK_DEBIAN_BROKER_PACKAGE_NAME sensebus-broker)
set(CPACK_DEBIAN_BROKER_DESCRIPTION "broker of Sensebus, the event bus for SCSI
It takes in what agents tell of SCSI devices, keeps it in a log on disk, and streams it to subscribers over gRPC.
sensebus-store looks at the log of a broker that is stopped.")
# useradd is in passwd, the kill of the unit's ExecReload= in procps.
set(CPACK_DEBIAN_BROKER_PACKAGE_DEPENDS "passwd, procps")
set(CPACK_DEBIAN_BROKER_PACKAGE_RECOMMENDS "sensebus")

package_programs(agent sensebus-agent)
package_daemon(agent sensebus-agent agent.env)
package_pages(agent agent/man)
package_documents(agent sensebus-agent)
install(FILES ${PROJECT_SOURCE_DIR}/docs/sources.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/sensebus-agent
  COMPONENT agent EXCLUDE_FROM_ALL)
set(CPACK_DEBIAN_AGENT_PACKAGE_NAME sensebus-agent)
set(CPACK_DEBIAN_AGENT_DESCRIPTION "agent of Sensebus, the event bus for SCSI
It observes the SCSI devices of its host's kernel, iSCSI targets in sessions of its own, and what the host itself serves,
and delivers what happens there to a broker. What the broker has not acknowledged is kept on disk.")
set(CPACK_DEBIAN_AGENT_PACKAGE_DEPENDS "passwd, procps")
set(CPACK_DEBIAN_AGENT_PACKAGE_SUGGESTS "sensebus")

package_programs(cli sensebus)
package_pages(cli clients/cli/man)
package_documents(cli sensebus)
set(CPACK_DEBIAN_CLI_PACKAGE_NAME sensebus)
set(CPACK_DEBIAN_CLI_DESCRIPTION "command line of Sensebus, the event bus for SCSI
It watches and searches the events of SCSI devices, waits for one, registers for those of a device, shows agents, devices
and sessions, and makes certificates.")
set(CPACK_DEBIAN_CLI_PACKAGE_SUGGESTS "sensebus-broker")

set(CPACK_COMPONENTS_ALL broker agent cli)
if(TARGET sensebus-target)
  list(APPEND CPACK_COMPONENTS_ALL test)
  package_documents(test sensebus-target)
  set(CPACK_DEBIAN_TEST_PACKAGE_NAME sensebus-target)
  set(CPACK_DEBIAN_TEST_DESCRIPTION "iSCSI target for tests that raises the events it is told to
It serves disks of memory without privileges, kernel module or disk; what happens to them is said on a socket, in a scenario
file, or by gRPC.")
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "${SENSEBUS_PACKAGE_CONTACT}")
# Each package has a description of its own; this would stand in front of all of them.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# Folders of the packages are 0755 whatever the umask is here.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
include(CPack)
