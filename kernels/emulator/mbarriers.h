// Barriers in shared memory, and the copies of tiles that land in their phases.
#pragma once
#include "clocks.h"
#include "machine.h"
#include <map>
#include <string>
#include <vector>

namespace emulator {

// A piece of a tile: so many bytes from global memory, zeros where `from` is null.
struct Piece {
  void* to;
  const void* from;
  uint32_t bytes;
};

struct Load {
  std::vector<Piece> pieces;
  uint32_t bytes;
  int agent;  // of the race checker, with its time
  uint32_t time;
};

struct Mbarrier {
  int arrivals;    // that a phase takes
  int missing;     // arrivals
  int64_t due;     // bytes that the phase expects
  uint64_t phase;  // that is under way
  bool published;  // whether copies can see it
  std::vector<Load> loads;   // on their way
  int64_t bytes_on_way;
  Knowledge told;            // what those who arrived knew
  View ended;                // the same when the last phase ended
};

// Those of a block, by their addresses.
class Mbarriers {
 public:
  void begin_block() { all_.clear(); }
  void init(void* barrier, int arrivals, Where where);
  void arrive(void* barrier, uint32_t bytes, Where where);
  void wait(void* barrier, uint32_t parity, Where where);
  void publish();
  void load(void* barrier, Load load, Where where);

  // What the phase under way lacks, for people.
  std::string lacks(const void* barrier) const;
  // Whether copies were started that nobody waited for.
  bool has_loads() const;

 private:
  Mbarrier& at(const void* barrier, const char* word, Where where);
  // Ends the phase if nothing is missing: what is on its way lands no earlier, so that who does not wait sees nothing.
  bool end_phase(const void* key, Mbarrier& barrier);

  std::map<const void*, Mbarrier> all_;
};

}  // namespace emulator
