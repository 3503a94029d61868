// Fills a tensor with zeros.
#include "check.h"
#include "launch.h"

namespace pixelcnn::cuda {

int64_t workspace(const Zero&, const Gpu&) { return 0; }
void run(const Zero& op, const Launch& launch) {
  PIXELCNN_CUDA(cudaMemsetAsync(op.y, 0, int64_t{op.count} * sizeof(uint32_t), launch.stream));
}

}  // namespace pixelcnn::cuda
