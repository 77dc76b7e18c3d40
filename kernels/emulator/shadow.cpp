#include "shadow.h"
#include <algorithm>

namespace emulator {

void Shadow::begin_launch(uintptr_t shared, size_t shared_bytes) {
  shared_ = shared;
  shared_bytes_ = shared_bytes;
  ++global_generation_;
  // Pages of buffers that are gone would only cost memory.
  if (pages_.size() > 1 << 14) pages_.clear();
  last_ = nullptr;
  last_number_ = 0;
}

// Lists of earlier blocks are not looked at again: that other blocks read is all that counts of them.
void Shadow::begin_block(uint32_t block) {
  lists_used_ = 0;
  block_ = block;
  ++shared_generation_;
  last_ = nullptr;
  last_number_ = 0;
}

Shadow::Page& Shadow::page_of(uintptr_t address) {
  const uintptr_t number = address >> PAGE_BITS;
  if (last_ && last_number_ == number) return *last_;
  std::unique_ptr<Page>& page = pages_[number];
  if (!page) page = std::make_unique<Page>();
  const bool is_shared = address - shared_ < shared_bytes_;
  const uint32_t generation = is_shared ? shared_generation_ : global_generation_;
  if (page->generation != generation) {
    clear(*page);
    page->generation = generation;
  }
  last_ = page.get();
  last_number_ = number;
  return *last_;
}

void Shadow::clear(Page& page) {
  Cell untouched = {};
  untouched.writer = untouched.more_readers = untouched.foreign_block = NONE;
  page.cells.assign(size_t(1) << (PAGE_BITS - page.shift), untouched);
}

// Every cell becomes several that say the same.
void Shadow::refine(Page& page, int shift) {
  std::vector<Cell> finer(size_t(1) << (PAGE_BITS - shift));
  for (size_t i = 0; i < finer.size(); ++i) {
    finer[i] = page.cells[i >> (page.shift - shift)];
    if (has_more_readers(finer[i])) finer[i].more_readers = new_list(lists_[finer[i].more_readers]);
  }
  page.cells = std::move(finer);
  page.shift = shift;
}

bool Shadow::races(uintptr_t address, size_t bytes, const Access& access, const Clocks& clocks, Race& race) {
  while (bytes > 0) {
    Page& page = page_of(address);
    const size_t offset = address & ((1 << PAGE_BITS) - 1);
    const size_t here = std::min(bytes, (size_t(1) << PAGE_BITS) - offset);
    const int needed = __builtin_ctzll(offset | here | 16);
    if (needed < page.shift) refine(page, needed);
    for (size_t i = offset >> page.shift; i < (offset + here) >> page.shift; ++i) {
      if (!races(page.cells[i], access, clocks, race)) continue;
      race.address = address - offset + (i << page.shift);
      return true;
    }
    address += here;
    bytes -= here;
  }
  return false;
}

bool Shadow::has_more_readers(const Cell& cell) const {
  return cell.readers.lanes && cell.read_block == block_ && cell.more_readers != NONE;
}

uint32_t Shadow::new_list(std::vector<Readers> readers) {
  if (lists_used_ == lists_.size()) lists_.emplace_back();
  lists_[lists_used_] = std::move(readers);
  return uint32_t(lists_used_++);
}

bool Shadow::knows(const Access& access, const Clocks& clocks, int other, uint32_t time, bool wrote) const {
  if (other == access.who) return true;
  const Knowledge& knowledge = clocks.known_to(access.who);
  const bool crosses = wrote && clocks.is_agent(access.who) && !clocks.is_agent(other);
  return time <= (crosses ? knowledge.fenced : knowledge.seen)[other];
}

bool Shadow::unordered(const Readers& readers, const Access& access, const Clocks& clocks, int& who) const {
  for (uint32_t lanes = readers.lanes; lanes; lanes &= lanes - 1) {
    who = int(readers.warp) * 32 + __builtin_ctz(lanes);
    if (!knows(access, clocks, who, readers.time, false)) return true;
  }
  return false;
}

bool Shadow::races(Cell& cell, const Access& access, const Clocks& clocks, Race& race) {
  if (cell.writer != NONE) {
    const bool ordered =
        cell.write_block == block_ && knows(access, clocks, int(cell.writer), cell.write_time, true);
    if (!ordered) {
      race.earlier = {int(cell.writer), true, cell.write_site};
      race.earlier_block = cell.write_block;
      return true;
    }
  }
  if (!access.writes) {
    add_reader(cell, access, clocks);
    return false;
  }
  int who = 0;
  bool races = false;
  uint32_t block = cell.read_block;
  if (cell.readers.lanes) {
    races = cell.read_block != block_ || unordered(cell.readers, access, clocks, who);
    if (cell.read_block != block_) who = int(cell.readers.warp) * 32 + __builtin_ctz(cell.readers.lanes);
    if (!races && has_more_readers(cell)) {
      for (const Readers& readers : lists_[cell.more_readers])
        if (unordered(readers, access, clocks, who)) {
          races = true;
          break;
        }
    }
  }
  Site site = cell.read_site;
  if (!races && cell.foreign_block != NONE) {
    races = true;
    block = cell.foreign_block;
    site = cell.foreign_site;
    who = -1;
  }
  if (races) {
    race.earlier = {who, false, site};
    race.earlier_block = block;
    return true;
  }
  cell.writer = uint32_t(access.who);
  cell.write_time = clocks.now(access.who);
  cell.write_block = block_;
  cell.write_site = access.site;
  cell.readers = {};
  cell.more_readers = NONE;
  return false;
}

// Readers that the new one comes after are forgotten: who is ordered after it is ordered after them.
void Shadow::add_reader(Cell& cell, const Access& access, const Clocks& clocks) {
  const uint32_t lane = 1u << (access.who % 32), warp = uint32_t(access.who) / 32, time = clocks.now(access.who);
  if (cell.readers.lanes && cell.read_block != block_) {
    cell.foreign_block = cell.read_block;
    cell.foreign_site = cell.read_site;
    cell.readers = {};
    cell.more_readers = NONE;
  }
  cell.read_block = block_;
  cell.read_site = access.site;
  auto takes = [&](Readers& readers) {
    if (readers.lanes && readers.warp == warp && readers.time == time) {
      readers.lanes |= lane;
      return true;
    }
    int who = 0;
    if (unordered(readers, access, clocks, who)) return false;
    readers = {lane, warp, time};
    return true;
  };
  if (takes(cell.readers)) return;
  if (cell.more_readers == NONE) cell.more_readers = new_list({});
  std::vector<Readers>& more = lists_[cell.more_readers];
  for (Readers& readers : more)
    if (takes(readers)) return;
  more.push_back({lane, warp, time});
}

}  // namespace emulator
