#include "checker.h"
#include "engine.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

namespace emulator {

__thread bool noting = false;

namespace {

// Sites are the distance of code from here, or, with the lowest bit set, a word's place by number. Code is aligned to
// nothing, so distances are doubled; programs are smaller than a gigabyte.
const char* const ANCHOR = reinterpret_cast<const char*>(&note_access);

Site site_of(const void* code) { return Site(int32_t(static_cast<const char*>(code) - ANCHOR)) << 1; }

// File and line by the debugger's information, where there are any and the tool to read them; else the function.
std::string source_of(const char* code) {
  Dl_info info;
  if (!dladdr(code, &info)) return "an unknown place";
  const size_t offset = size_t(code - static_cast<const char*>(info.dli_fbase));
  char command[4352], line[1024] = "";
  snprintf(command, sizeof command, "addr2line -e '%s' %#zx 2>/dev/null", info.dli_fname, offset);
  if (FILE* answer = popen(command, "r")) {
    if (!fgets(line, sizeof line, answer)) line[0] = 0;
    pclose(answer);
  }
  line[strcspn(line, "\n(")] = 0;
  if (line[0] && line[0] != '?') return line;
  snprintf(line, sizeof line, "%s+%#zx", info.dli_fname, offset);
  return line;
}

}  // namespace

void Checker::begin_launch(uintptr_t shared, size_t shared_bytes, uintptr_t stacks, size_t stack_bytes) {
  shadow_.begin_launch(shared, shared_bytes);
  stacks_ = stacks;
  stack_bytes_ = stack_bytes;
  places_.clear();
}

void Checker::begin_block(uint32_t block, int threads) {
  clocks_.begin(threads);
  shadow_.begin_block(block);
}

Site Checker::site_of(Where where) {
  size_t i = places_.size();
  while (i > 0 && !(places_[i - 1].line == where.line && places_[i - 1].file == where.file)) --i;
  if (i == 0) {
    places_.push_back(where);
    i = places_.size();
  }
  return Site(i - 1) << 1 | 1;
}

std::string Checker::text(Site site) const {
  if (!(site & 1)) return source_of(ANCHOR + (int32_t(site) >> 1) - 1);
  const Where& where = places_[site >> 1];
  return std::string(where.file) + ":" + std::to_string(where.line);
}

std::string Checker::text(int who) const {
  if (who < 0) return "a thread";
  if (!clocks_.is_agent(who)) return "thread " + std::to_string(who);
  const int agent = who - clocks_.threads();
  if (agent < Clocks::WARPS) return "the tensor cores for warp " + std::to_string(agent);
  return "a copy of a tile";
}

void Checker::access(int who, const void* address, size_t bytes, bool writes, const void* code) {
  access({who, writes, emulator::site_of(code)}, address, bytes);
}

void Checker::access(int who, const void* address, size_t bytes, bool writes, Where where) {
  access({who, writes, site_of(where)}, address, bytes);
}

void Checker::access(const Access& access, const void* address, size_t bytes) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  if (at - stacks_ < stack_bytes_) return;
  Race race;
  if (shadow_.races(at, bytes, access, clocks_, race)) report(race, access, bytes);
}

void Checker::report(const Race& race, const Access& access, size_t bytes) {
  Machine& machine = emulator::machine();
  const uint32_t* grid = machine.grid;
  const uint32_t block = race.earlier_block;
  const uint32_t here = (machine.index[2] * grid[1] + machine.index[1]) * grid[0] + machine.index[0];
  std::string earlier = text(race.earlier.who);
  if (block != here) {
    earlier += " of block " + std::to_string(block % grid[0]) + "," + std::to_string(block / grid[0] % grid[1]) + "," +
               std::to_string(block / grid[0] / grid[1]);
  }
  machine.fail("a race: %s %s %zu bytes, among them %s, at %s; %s %s it at %s; nothing orders the two",
               text(access.who).c_str(), access.writes ? "writes" : "reads", bytes,
               machine.describe(race.address).c_str(), text(access.site).c_str(), earlier.c_str(),
               race.earlier.writes ? "wrote" : "read", text(race.earlier.site).c_str());
}

void note_access(const void* address, size_t bytes, bool writes, const void* code) {
  if (!noting) return;
  machine().checker().access(current->index, address, bytes, writes, code);
}

}  // namespace emulator
