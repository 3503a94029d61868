// Fills the kernel table of one instruction set.
#include "kernels.h"

#define PIXELCNN_STRING(name) #name
#define PIXELCNN_NAME(name) PIXELCNN_STRING(name)

namespace pixelcnn::cpu::PIXELCNN_ISA {

const Kernels table = {PIXELCNN_NAME(PIXELCNN_ISA), packed_bytes,
#define PIXELCNN_X(Op) workspace, run,
                       PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
};

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
