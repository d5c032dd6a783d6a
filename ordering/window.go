package ordering

// window follows the records of one topic partition from the lowest unfinished one on. Records are added in log order
// and finished in any; the mark is the position below which all are finished. Offsets may have holes.
type window struct {
	slots []slot // ring; slots[head] is the lowest unfinished
	head  int
	used  int
	first int64 // number of the slot at head; a record's slot number never changes
	next  Mark  // behind the highest record added
	done  int   // finished among the used
}

type slot struct {
	offset int64
	work   *Work // nil for a tier record, and when finished
	done   bool
	epoch  int32
}

func newWindow(start int64) window { return window{next: Mark{Offset: start, Epoch: -1}} }

// add appends a record and returns its slot number.
func (w *window) add(offset int64, epoch int32, work *Work) int64 {
	if w.used == len(w.slots) {
		w.grow()
	}
	w.slots[(w.head+w.used)&(len(w.slots)-1)] = slot{offset: offset, work: work, epoch: epoch}
	w.used++
	w.next = Mark{Offset: offset + 1, Epoch: epoch}
	return w.first + int64(w.used) - 1
}

func (w *window) grow() {
	bigger := make([]slot, max(64, 2*len(w.slots)))
	for i := range w.used {
		bigger[i] = w.slots[(w.head+i)&(len(w.slots)-1)]
	}
	w.slots, w.head = bigger, 0
}

// finish marks a slot as finished and reports whether the mark moved.
func (w *window) finish(number int64) bool {
	i := number - w.first
	if i < 0 || i >= int64(w.used) {
		return false
	}
	s := &w.slots[(w.head+int(i))&(len(w.slots)-1)]
	if s.done {
		return false
	}
	s.done, s.work = true, nil
	w.done++
	moved := false
	for w.used > 0 && w.slots[w.head].done {
		w.head = (w.head + 1) & (len(w.slots) - 1)
		w.used--
		w.done--
		w.first++
		moved = true
	}
	return moved
}

// mark is the lowest unfinished position.
func (w *window) mark() Mark {
	if w.used == 0 {
		return w.next
	}
	s := &w.slots[w.head]
	return Mark{Offset: s.offset, Epoch: s.epoch}
}

// lowest is the lowest unfinished work, nil when there is none.
func (w *window) lowest() *Work {
	if w.used == 0 {
		return nil
	}
	return w.slots[w.head].work
}

// ranges lists the finished offsets above the mark.
func (w *window) ranges() []Range {
	var out []Range
	open := false
	for i := range w.used {
		s := &w.slots[(w.head+i)&(len(w.slots)-1)]
		switch {
		case !s.done:
			open = false
		case open:
			out[len(out)-1].To = s.offset + 1
		default:
			out, open = append(out, Range{From: s.offset, To: s.offset + 1}), true
		}
	}
	return out
}
