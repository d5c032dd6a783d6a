package ordering

// auditKind says what a read serves when it is not for a run.
type auditKind uint8

const (
	notAudit  auditKind = iota
	auditCopy           // a row without a copy: produce it again
	auditBody           // a pointer near the end of its retention: move the bytes into the row
)

type audit struct {
	kind auditKind
	res  *resource
	row  *row
}

// auditCopies finds rows without a copy that no redelivery will mend: their source offset is below where fetching
// began, and the tiers were read to the end (R11).
func (l *Lane) auditCopies() {
	for _, r := range l.resources {
		if r.park == nil {
			continue
		}
		for _, rw := range r.park.rows {
			behind := int(rw.topic) >= len(l.sources) || rw.offset < l.cfg.Sources[rw.topic].Start
			if rw.copy == NoCopy && !rw.making && rw.pending == 0 && behind {
				l.audits = append(l.audits, audit{auditCopy, r, rw})
			}
		}
	}
	sortAudits(l.audits)
}

// aging finds pointers that retention is about to reach (R11).
func (l *Lane) aging(a Aging) {
	for _, r := range l.resources {
		if r.park == nil {
			continue
		}
		for _, rw := range r.park.rows {
			if rw.copy == Pointer && l.tierIndex(rw.ptrTier) == a.Tier && rw.ptr < a.Below && !rw.audited {
				rw.audited = true
				l.audits = append(l.audits, audit{auditBody, r, rw})
			}
		}
	}
	sortAudits(l.audits)
}

// audit reads what the auditor found, a few at a time.
func (l *Lane) audit() {
	if l.away || l.stopped {
		return
	}
	for len(l.audits) > 0 && l.auditing < maxAudits {
		a := l.audits[0]
		l.audits = l.audits[1:]
		_, busy := l.reading[a.row.seq]
		if a.row.gone || busy || a.row.making || a.row.copy == Body || a.row.lostSrc {
			a.row.audited = false // it may be looked at again
			continue
		}
		l.auditing++
		l.reading[a.row.seq] = reading{res: a.res, row: a.row, audit: a.kind}
		l.out.Read = append(l.out.Read, Read{
			Row: l.stored(a.res, a.row), Source: a.row.copy == NoCopy || a.row.lostPtr,
		})
	}
}

// audited takes in what the auditor read.
func (l *Lane) audited(rd reading, c *CopyRead) {
	l.auditing--
	r, rw := rd.res, rd.row
	if rw.gone || l.stopped {
		return
	}
	if c.Err != nil {
		l.lost(rw)
		l.audits = append(l.audits, audit{rd.audit, r, rw})
		return
	}
	w := c.Work
	w.task = task{res: r, row: rw, slot: -1}
	rw.audited = false
	switch {
	case rw.making || rw.pending > 0 || rw.copy == Body:
	case rd.audit == auditBody:
		l.body(r, rw, w)
	case rw.copy == NoCopy:
		l.produce(r, rw, w)
	}
}
