// Package group is everything between a consumer and Kafka: membership, the lease, offsets, fetching, reading by
// position and producing to the tiers.
//
// It holds four clients. The member belongs to the group and fetches nothing. Two read, without a group, what the lanes
// own, from the offsets that they give: nothing is read before a lane says from where, and no offset is ever reset behind
// its back. One produces, and asks what there is to ask. A fifth is made when a record turns up that is larger than a
// usual batch.
package group
