// What happened before what: vector clocks of a block's threads and of what they set going.
//
// Everybody has a number: threads theirs, behind them the agents, which do asynchronous work: the tensor cores on
// behalf of a warp, and copies of tiles. Everybody has a time, which goes on whenever others may learn of it, and
// knows a time of everybody else: what happened until then happened before whatever it does from now on.
#pragma once
#include <stdint.h>
#include <memory>
#include <vector>

namespace emulator {

// Times by number. `fenced` is what asynchronous work may see of ordinary writes: what happened before a proxy fence.
struct Knowledge {
  std::vector<uint32_t> seen, fenced;
  void join(const Knowledge& other);
};

using View = std::shared_ptr<const Knowledge>;

class Clocks {
 public:
  // Tensor cores by warp, and copies.
  static constexpr int WARPS = 32, COPIES = 64;

  // Starts a block: nobody knows of anything.
  void begin(int threads);

  int threads() const { return threads_; }
  bool is_agent(int who) const { return who >= threads_; }
  int tensor_cores_of(int warp) const { return threads_ + warp; }
  // An agent for one more copy.
  int next_copy() { return threads_ + WARPS + copies_++ % COPIES; }

  uint32_t now(int who) const { return now_[who]; }
  const Knowledge& known_to(int who) const { return *views_[who]; }

  // Tells `whom` what `who` knows and did, and lets the time of `who` go on.
  void tell(Knowledge& whom, int who);
  void learn(int who, const Knowledge& from);
  void learn(int who, const View& from);

  // `who` learns of what `agent` did until `time`.
  void learn_of(int who, int agent, uint32_t time);

  // All of them learn what each of them knows and did.
  void meet(const std::vector<int>& all);

  // Lets asynchronous work see the ordinary writes that `who` knows of.
  void fence(int who);

  // An agent begins work for `who`: it knows what `who` knows and did, no more. Returns its time.
  uint32_t begin_work(int agent, int who);

  // Nobody knows of anything.
  Knowledge nothing() const { return {std::vector<uint32_t>(now_.size()), std::vector<uint32_t>(now_.size())}; }

 private:
  int threads_ = 0;
  int copies_ = 0;
  std::vector<uint32_t> now_;
  std::vector<View> views_;
};

}  // namespace emulator
