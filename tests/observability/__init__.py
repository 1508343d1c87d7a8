"""The appliance under the eyes of a real Prometheus, whose time runs thirty times as fast as the operator's."""
