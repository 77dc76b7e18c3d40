// Who last wrote and read every byte of memory that a launch touches, and whether the next access is ordered after.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <memory>
#include <unordered_map>
#include <vector>
#include "clocks.h"

namespace emulator {

// Where an access stands in the source: an address in the program's code, or a word's place.
using Site = uint32_t;

// An access as the checker sees it.
struct Access {
  int who;
  bool writes;
  Site site;
};

// Two accesses to the same bytes, at least one a write, that nothing orders.
struct Race {
  Access earlier;
  uint32_t earlier_block;  // linear index in the grid
  uintptr_t address;
};

class Shadow {
 public:
  // A launch: nothing has been touched. Then a block: shared memory is new, and the other blocks' accesses to global
  // memory are ordered by nothing.
  void begin_launch(uintptr_t shared, size_t shared_bytes);
  void begin_block(uint32_t block);

  // Notes an access to [address, address + bytes), unless it races with an earlier one: then true and `race` is set.
  // `knowledge` is what whoever accesses knows; asynchronous work sees ordinary writes only as far as they are fenced.
  bool races(uintptr_t address, size_t bytes, const Access& access, const Clocks& clocks, Race& race);

 private:
  static constexpr int PAGE_BITS = 12;
  static constexpr uint32_t NONE = ~0u;

  // Threads of one warp that read at the same time of theirs; empty where there are no lanes.
  struct Readers {
    uint32_t lanes;
    uint32_t warp : 8, time : 24;
  };

  struct Cell {
    uint32_t writer, write_time, write_block, write_site;
    Readers readers;
    uint32_t more_readers;  // index of a list, NONE if there is none
    uint32_t read_block, read_site;
    uint32_t foreign_block, foreign_site;  // a reader of another block
  };

  // Cells for 2^shift bytes each: as fine as the accesses so far ask for.
  struct Page {
    uint32_t generation = 0;
    int shift = 4;
    std::vector<Cell> cells;
  };

  Page& page_of(uintptr_t address);
  void refine(Page& page, int shift);
  static void clear(Page& page);
  bool races(Cell& cell, const Access& access, const Clocks& clocks, Race& race);
  bool knows(const Access& access, const Clocks& clocks, int other, uint32_t time, bool wrote) const;
  bool has_more_readers(const Cell& cell) const;
  uint32_t new_list(std::vector<Readers> readers);
  void add_reader(Cell& cell, const Access& access, const Clocks& clocks);
  bool unordered(const Readers& readers, const Access& access, const Clocks& clocks, int& who) const;

  uintptr_t shared_ = 0;
  size_t shared_bytes_ = 0;
  uint32_t block_ = 0;
  uint32_t shared_generation_ = 0, global_generation_ = 0;
  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t last_number_ = 0;
  Page* last_ = nullptr;
  std::vector<std::vector<Readers>> lists_;
  size_t lists_used_ = 0;
};

}  // namespace emulator
