// What `pixelcnn doctor` says of cuDNN, as plain data that can cross to pixelcnn.node.
#pragma once

namespace pixelcnn::cuda {

// Texts that are too long are cut. `message` is empty where cuDNN can be used.
struct CudnnReport {
  char version[16];     // "9.24.0"
  char path[512];       // of libcudnn.so.9
  char code[32];        // as in CudnnLibrary
  char message[1024];   // what is wrong, a sentence
  char remedy[512];     // what to do
  char attempts[4096];  // where it was looked for: a line for each place, "path: reason"
};

// Looks for cuDNN, as a device does when it opens.
void report_cudnn(CudnnReport* report);

}  // namespace pixelcnn::cuda
