"""The dashboards as code: `just dashboards` writes them to grafana/dashboards, where Grafana reads them."""
