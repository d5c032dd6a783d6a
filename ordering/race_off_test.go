//go:build !race

package ordering

const raceDetector = false
