# Chooses the compiler of a target and, where there is one, the sysroot of scripts/build/sysroot.mjs for `npm run prebuild`.
# PIXELCNN_TRIPLET and PIXELCNN_SYSROOT come from the environment, which CMake's own test builds see as well.
set(triplet "$ENV{PIXELCNN_TRIPLET}")
set(sysroot "$ENV{PIXELCNN_SYSROOT}")
set(CMAKE_SYSTEM_NAME Linux)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR "${triplet}")
set(CMAKE_CXX_COMPILER "${triplet}-g++")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static-libstdc++ -static-libgcc")

if(sysroot)
  set(CMAKE_SYSROOT "${sysroot}")
  set(gcc "${sysroot}/usr/lib/gcc/${triplet}/10")
  set(cxx "${sysroot}/usr/include/c++/10")
  set(compile "-nostdinc++ -isystem ${cxx} -isystem ${sysroot}/usr/include/${triplet}/c++/10")
  set(link "--sysroot=${sysroot} -B${gcc} -L${gcc} -L${sysroot}/usr/lib/${triplet} -L${sysroot}/lib/${triplet}")
  # CMAKE_CXX_FLAGS_INIT would have no effect, because cmake-js sets CMAKE_CXX_FLAGS.
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:${compile}>")
  set(CMAKE_SHARED_LINKER_FLAGS_INIT "${link}")
  string(APPEND CMAKE_EXE_LINKER_FLAGS_INIT " ${link}")
  # nvcc passes these to the same compiler.
  string(REGEX REPLACE " +" "," host "--sysroot=${sysroot} ${compile}")
  set(CMAKE_CUDA_FLAGS_INIT "-Xcompiler=${host}")
endif()
