// Looks up rows of a table, and adds up the gradients of its rows.
#include <cstring>

#include "element.h"
#include "kernels.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

int64_t row_at(const uint32_t* index, int64_t i, int32_t rows) {
  return smaller<int64_t>(index[i], int64_t{rows} - 1);
}

}  // namespace

int64_t workspace(const Embedding&, int) { return 0; }

void run(const Embedding& op, Context& context) {
  constexpr int64_t kChunk = 1 << 14;  // values of one task
  const int64_t rows_per_task = divide_up(kChunk, op.size);
  context.pool.run(divide_up(op.count, rows_per_task), [&](int64_t task, int) {
    const int64_t end = smaller<int64_t>(op.count, (task + 1) * rows_per_task);
    for (int64_t i = task * rows_per_task; i < end; ++i) {
      const float* row = op.table + row_at(op.index, i, op.rows) * op.size;
      Element* y = static_cast<Element*>(op.y) + i * op.size;
      for (int column = 0; column < op.size; column += kLanes)
        store_partial(y + column, load_partial(row + column, op.size - column), op.size - column);
    }
  });
}

int64_t workspace(const EmbeddingBackward&, int) { return 0; }

void run(const EmbeddingBackward& op, Context& context) {
  // A task has its columns in all rows to itself, so it can add in the order of the indices.
  constexpr int kColumns = 64;
  context.pool.run(divide_up(op.size, kColumns), [&](int64_t task, int) {
    const int64_t first = task * kColumns;
    const int columns = static_cast<int>(smaller<int64_t>(kColumns, op.size - first));
    const auto* grad_y = static_cast<const Element*>(op.grad_y) + first;
    float* grad_table = op.grad_table + first;
    for (int64_t row = 0; row < op.rows; ++row)
      std::memset(grad_table + row * op.size, 0, sizeof(float) * columns);
    for (int64_t i = 0; i < op.count; ++i) {
      const Element* gradient = grad_y + i * op.size;
      float* sum = grad_table + row_at(op.index, i, op.rows) * op.size;
      for (int column = 0; column < columns; column += kLanes) {
        const int lanes = columns - column;
        store_partial(sum + column,
                      load_partial(sum + column, lanes) + load_partial(gradient + column, lanes), lanes);
      }
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
