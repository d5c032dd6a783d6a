// Package group is everything between a consumer and Kafka: membership, the lease, offsets, fetching, reading by
// position and producing to the tiers.
//
// It holds two clients. The member belongs to the group and fetches nothing. The other reads, without a group, what the
// lanes own, from the offsets that they give, and produces: nothing is read before a lane says from where, and no
// offset is ever reset behind its back. A third one is made when a record turns up that is larger than a usual batch.
package group
