#include "clocks.h"
#include <algorithm>

namespace emulator {

namespace {

void raise(std::vector<uint32_t>& to, const std::vector<uint32_t>& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = std::max(to[i], from[i]);
}

}  // namespace

void Knowledge::join(const Knowledge& other) {
  raise(seen, other.seen);
  raise(fenced, other.fenced);
}

void Clocks::begin(int threads) {
  threads_ = (threads + 31) / 32 * 32;
  copies_ = 0;
  now_.assign(threads_ + WARPS + COPIES, 1);
  views_.assign(now_.size(), std::make_shared<const Knowledge>(nothing()));
}

void Clocks::tell(Knowledge& whom, int who) {
  whom.join(*views_[who]);
  whom.seen[who] = now_[who]++;
}

void Clocks::learn(int who, const Knowledge& from) {
  Knowledge knowledge = *views_[who];
  knowledge.join(from);
  views_[who] = std::make_shared<const Knowledge>(std::move(knowledge));
}

void Clocks::learn(int who, const View& from) {
  if (views_[who] != from) learn(who, *from);
}

void Clocks::meet(const std::vector<int>& all) {
  Knowledge knowledge = *views_[all.front()];
  const Knowledge* joined = views_[all.front()].get();
  for (int who : all) {
    if (views_[who].get() != joined) knowledge.join(*views_[who]);
    joined = views_[who].get();
  }
  for (int who : all) knowledge.seen[who] = now_[who]++;
  const View view = std::make_shared<const Knowledge>(std::move(knowledge));
  for (int who : all) views_[who] = view;
}

void Clocks::fence(int who) {
  Knowledge knowledge = *views_[who];
  raise(knowledge.fenced, knowledge.seen);
  knowledge.fenced[who] = now_[who]++;
  views_[who] = std::make_shared<const Knowledge>(std::move(knowledge));
}

void Clocks::learn_of(int who, int agent, uint32_t time) {
  if (views_[who]->seen[agent] >= time) return;
  Knowledge knowledge = *views_[who];
  knowledge.seen[agent] = time;
  views_[who] = std::make_shared<const Knowledge>(std::move(knowledge));
}

uint32_t Clocks::begin_work(int agent, int who) {
  Knowledge knowledge = *views_[who];
  knowledge.seen[who] = now_[who]++;
  views_[agent] = std::make_shared<const Knowledge>(std::move(knowledge));
  return ++now_[agent];
}

}  // namespace emulator
