# Finds what the CUDA backend is built with and says what is missing: nvcc with its static runtime, cuDNN's headers.
#
# Places, in this order: PIXELCNN_CUDA_ROOT, CUDACXX, CUDA_HOME, CUDA_PATH, the PATH, .cuda/ of this repository (filled
# by scripts/build/fetch-cuda.mjs), /usr/local/cuda*. A compiler older than 13.0 is passed over.
#
# Sets PixelcnnCuda_FOUND and PixelcnnCuda_CUDNN_FOUND, enables CUDA as a language, and defines
#   PixelcnnCuda::cudart  CUDA's headers and static runtime, for host code
#   PixelcnnCuda::cudnn   cuDNN's headers (the library is opened at run time)

set(pixelcnn_fetched ${CMAKE_CURRENT_LIST_DIR}/../.cuda/nvidia)
set(PixelcnnCuda_FOUND FALSE)
set(PixelcnnCuda_CUDNN_FOUND FALSE)

# The compiler.
file(GLOB pixelcnn_toolkits /usr/local/cuda-1[3-9]* /usr/local/cuda)
set(pixelcnn_compilers
  ${PIXELCNN_CUDA_ROOT}/bin/nvcc $ENV{CUDACXX} $ENV{CUDA_HOME}/bin/nvcc $ENV{CUDA_PATH}/bin/nvcc)
find_program(PIXELCNN_NVCC_ON_PATH nvcc)
mark_as_advanced(PIXELCNN_NVCC_ON_PATH)
list(APPEND pixelcnn_compilers ${PIXELCNN_NVCC_ON_PATH} ${pixelcnn_fetched}/cu13/bin/nvcc)
foreach(toolkit IN LISTS pixelcnn_toolkits)
  list(APPEND pixelcnn_compilers ${toolkit}/bin/nvcc)
endforeach()
set(pixelcnn_nvcc)
foreach(compiler IN LISTS pixelcnn_compilers)
  if(pixelcnn_nvcc OR NOT EXISTS "${compiler}")
    continue()
  endif()
  execute_process(COMMAND ${compiler} --version OUTPUT_VARIABLE text ERROR_VARIABLE text RESULT_VARIABLE failed)
  if(NOT failed AND text MATCHES "release ([0-9.]+)")
    if(CMAKE_MATCH_1 VERSION_LESS 13.0)
      message(STATUS "pixelcnn: ${compiler} is release ${CMAKE_MATCH_1}, the CUDA backend needs 13.0 or newer")
    else()
      set(pixelcnn_nvcc ${compiler})
      set(pixelcnn_nvcc_version ${CMAKE_MATCH_1})
    endif()
  endif()
endforeach()
if(NOT pixelcnn_nvcc)
  message(STATUS "pixelcnn: no nvcc, so the CUDA backend is left out (node scripts/build/fetch-cuda.mjs fetches one)")
  return()
endif()
set(CMAKE_CUDA_COMPILER ${pixelcnn_nvcc})
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75)  # for the language check; targets set their own
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.26 does not know it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()

# The runtime.
find_path(PIXELCNN_CUDART_INCLUDE cuda_runtime_api.h
  PATHS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} NO_DEFAULT_PATH)
find_library(PIXELCNN_CUDART_LIBRARY cudart_static
  PATHS ${CMAKE_CUDA_COMPILER_TOOLKIT_ROOT} ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES}
  PATH_SUFFIXES lib64 lib targets/x86_64-linux/lib targets/sbsa-linux/lib NO_DEFAULT_PATH)
mark_as_advanced(PIXELCNN_CUDART_INCLUDE PIXELCNN_CUDART_LIBRARY)
if(NOT PIXELCNN_CUDART_INCLUDE OR NOT PIXELCNN_CUDART_LIBRARY)
  message(STATUS "pixelcnn: ${pixelcnn_nvcc} comes without the CUDA runtime, so the CUDA backend is left out")
  return()
endif()
find_package(Threads REQUIRED)
add_library(PixelcnnCuda::cudart UNKNOWN IMPORTED)
set_target_properties(PixelcnnCuda::cudart PROPERTIES
  IMPORTED_LOCATION ${PIXELCNN_CUDART_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${PIXELCNN_CUDART_INCLUDE}
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};rt")
set(PixelcnnCuda_FOUND TRUE)
message(STATUS "pixelcnn: CUDA ${pixelcnn_nvcc_version} (${pixelcnn_nvcc}, ${PIXELCNN_CUDART_LIBRARY})")

# cuDNN's headers.
file(GLOB pixelcnn_wheels $ENV{VIRTUAL_ENV}/lib/python3*/site-packages/nvidia/cudnn/include)
find_path(PIXELCNN_CUDNN_INCLUDE cudnn_graph.h
  PATHS $ENV{CUDNN_HOME}/include ${pixelcnn_fetched}/cudnn/include ${PIXELCNN_CUDART_INCLUDE} ${pixelcnn_wheels}
        /usr/include /usr/include/x86_64-linux-gnu /usr/include/aarch64-linux-gnu /usr/local/include
  NO_DEFAULT_PATH)
mark_as_advanced(PIXELCNN_CUDNN_INCLUDE)
if(PIXELCNN_CUDNN_INCLUDE)
  add_library(PixelcnnCuda::cudnn INTERFACE IMPORTED)
  set_target_properties(PixelcnnCuda::cudnn PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${PIXELCNN_CUDNN_INCLUDE})
  set(PixelcnnCuda_CUDNN_FOUND TRUE)
  message(STATUS "pixelcnn: cuDNN headers in ${PIXELCNN_CUDNN_INCLUDE}")
else()
  message(STATUS "pixelcnn: no cuDNN headers, so the CUDA backend is built without it "
                 "(node scripts/build/fetch-cuda.mjs cudnn fetches them)")
endif()
