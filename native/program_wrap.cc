// Runs programs for Node. Each run is one call and one Promise: inputs are copied before the call returns,
// and outputs arrive in fresh ArrayBuffers.
#include "program_wrap.h"

#include <memory>
#include <utility>
#include <vector>

#include "arena_wrap.h"
#include "program.h"

namespace pixelcnn {

namespace {

struct ProgramHandle {
  static constexpr napi_type_tag kTag = {0x7069786c636e6e03, 0x61d0f3a27be54c13};
  static constexpr const char* kName = "Program";
  std::shared_ptr<Device> device;
  std::shared_ptr<Program> program;  // null once released
};

const std::shared_ptr<Program>& live_program(const ProgramHandle& handle) {
  PIXELCNN_CHECK(handle.program != nullptr, "ERR_DISPOSED", "the program has been released");
  return handle.program;
}

// Copies the inputs of one run and checks them against the program's input regions.
std::vector<std::vector<std::byte>> copy_inputs(const Program& program, const Napi::Array& inputs) {
  PIXELCNN_CHECK(inputs.Length() == program.inputs().size(), "ERR_INVALID_ARG_VALUE",
                 "the program takes " + std::to_string(program.inputs().size()) + " inputs, got " +
                     std::to_string(inputs.Length()));
  std::vector<std::vector<std::byte>> copies;
  // The length is not read from `inputs`: a getter that Get() runs may make the array longer.
  for (uint32_t i = 0; i < program.inputs().size(); ++i) {
    const std::string name = "input " + std::to_string(i);
    const std::span<const std::byte> bytes = bytes_of(inputs.Get(i), name);
    PIXELCNN_CHECK(static_cast<int64_t>(bytes.size()) == program.inputs()[i].bytes, "ERR_BUFFER_SIZE",
                   name + " must have " + std::to_string(program.inputs()[i].bytes) + " bytes, got " +
                       std::to_string(bytes.size()));
    copies.emplace_back(bytes.begin(), bytes.end());
  }
  return copies;
}

class ProgramJob : public PromiseJob {
 protected:
  ProgramJob(std::shared_ptr<Program> program, const Napi::Array& inputs)
      : program_(std::move(program)), inputs_(copy_inputs(*program_, inputs)) {}

  void write_inputs() {
    program_->prepare();
    for (size_t i = 0; i < inputs_.size(); ++i) {
      program_->backend()->write(program_->inputs()[i].data, inputs_[i].data(), program_->inputs()[i].bytes);
    }
  }

  std::shared_ptr<Program> program_;

 private:
  std::vector<std::vector<std::byte>> inputs_;
};

class RunJob final : public ProgramJob {
 public:
  RunJob(Napi::Env env, std::shared_ptr<Program> program, const Napi::Array& inputs, int64_t repeat)
      : ProgramJob(std::move(program), inputs), repeat_(repeat) {
    Napi::Array outputs = Napi::Array::New(env, program_->outputs().size());
    for (uint32_t i = 0; i < program_->outputs().size(); ++i) {
      Napi::ArrayBuffer buffer = new_array_buffer(env, program_->outputs()[i].bytes);
      outputs_.push_back(buffer.Data());
      outputs.Set(i, buffer);
    }
    // The executor writes directly into these buffers; JavaScript cannot reach them before the Promise
    // resolves.
    reference_ = Napi::Persistent(Napi::Object(env, outputs));
  }

  void run(const std::atomic<bool>& stopping) override {
    write_inputs();
    for (int64_t i = 0; i < repeat_; ++i) {
      PIXELCNN_CHECK(!stopping, "ERR_DISPOSED", "the device was disposed during this work");
      program_->run();
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      program_->backend()->read(outputs_[i], program_->outputs()[i].data, program_->outputs()[i].bytes);
    }
    fence_ = program_->backend()->fence();
  }
  bool in_flight() const override { return fence_ != 0; }
  bool reached() override { return program_->backend()->reached(fence_); }
  void finish() override { program_->backend()->wait(fence_); }

 protected:
  Napi::Value result(Napi::Env) override { return reference_.Value(); }

 private:
  int64_t repeat_;
  uint64_t fence_ = 0;
  std::vector<void*> outputs_;
  Napi::ObjectReference reference_;
};

class TraceJob final : public ProgramJob {
 public:
  TraceJob(std::shared_ptr<Program> program, const Napi::Array& inputs)
      : ProgramJob(std::move(program), inputs) {}
  void run(const std::atomic<bool>&) override {
    write_inputs();
    trace_ = program_->trace();
  }

 protected:
  Napi::Value result(Napi::Env env) override {
    Napi::Float64Array values = Napi::Float64Array::New(env, trace_.ops.size() * 2);
    for (size_t i = 0; i < trace_.ops.size(); ++i) {
      values[2 * i] = trace_.ops[i].milliseconds;
      values[2 * i + 1] = trace_.ops[i].non_finite;
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("values", values);
    result.Set("opByOp", trace_.op_by_op);
    return result;
  }

 private:
  ProgramTrace trace_;
};

}  // namespace

Napi::Value create_program(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Napi::Array list = array_argument(info, 1, "arenas");
    std::vector<std::shared_ptr<Arena>> arenas;
    std::shared_ptr<Device> device;
    for (uint32_t i = 0; i < list.Length(); ++i) {
      const auto handle = handle_of<ArenaHandle>(list.Get(i), "arena");
      PIXELCNN_CHECK(handle->arena != nullptr, "ERR_DISPOSED", "the arena has been released");
      device = handle->device;
      PIXELCNN_CHECK(!device->closed(), "ERR_DISPOSED", "the device has been disposed");
      arenas.push_back(handle->arena);
    }
    // The typed arrays are read last: reading the array of arenas may run JavaScript, which could detach
    // their buffers.
    auto program = std::make_shared<Program>(int32_array_argument(info, 0, "commands"), std::move(arenas),
                                             int32_array_argument(info, 2, "inputs"),
                                             int32_array_argument(info, 3, "outputs"));
    return make_handle(info.Env(),
                       std::make_shared<ProgramHandle>(ProgramHandle{device, std::move(program)}));
  });
}

Napi::Value release_program(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    handle_of<ProgramHandle>(info[0], "program")->program.reset();
    return info.Env().Undefined();
  });
}

Napi::Value run_program(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto handle = handle_of<ProgramHandle>(info[0], "program");
    const Napi::Array inputs = array_argument(info, 1, "inputs");
    const int64_t repeat = integer_argument(info, 2, "repeat", 1, 1 << 24);
    return handle->device->submit(
        info.Env(), std::make_unique<RunJob>(info.Env(), live_program(*handle), inputs, repeat));
  });
}

Napi::Value trace_program(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto handle = handle_of<ProgramHandle>(info[0], "program");
    const Napi::Array inputs = array_argument(info, 1, "inputs");
    return handle->device->submit(info.Env(), std::make_unique<TraceJob>(live_program(*handle), inputs));
  });
}

Napi::Value program_choices(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Choices choices = live_program(*handle_of<ProgramHandle>(info[0], "program"))->choices();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("made", choices.made);
    result.Set("of", choices.of);
    return result;
  });
}

Napi::Value program_workspace(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto handle = handle_of<ProgramHandle>(info[0], "program");
    return Napi::Number::New(info.Env(), static_cast<double>(live_program(*handle)->workspace_bytes()));
  });
}

}  // namespace pixelcnn
