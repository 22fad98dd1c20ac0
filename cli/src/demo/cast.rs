//! Who takes part in the demo: three tenants, their sites, and how busy each is.

/// A tenant of the demo.
#[derive(Debug)]
pub(crate) struct Company {
    /// Its tenant id.
    pub(crate) tenant: &'static str,
    /// Its plan.
    pub(crate) plan: &'static str,
    /// Its sites.
    pub(crate) sites: &'static [Site],
    /// Hosts that write ordinary metrics; only where the plan allows those.
    pub(crate) hosts: usize,
}

/// A site of the demo.
#[derive(Debug)]
pub(crate) struct Site {
    /// Its name.
    pub(crate) name: &'static str,
    /// Requests on an average day.
    pub(crate) requests_per_day: f64,
    /// The hour of its evening peak, UTC.
    pub(crate) peak_hour: f64,
    /// Weekend against weekday: a shop above 1, an office below.
    pub(crate) weekend: f64,
    /// Routes and their weights.
    pub(crate) routes: &'static [(u32, &'static str)],
    /// Whether someone tries passwords here until the sign-in is fixed.
    pub(crate) attacked: bool,
}

const SHOP: &[(u32, &str)] = &[
    (30, "/product/:id"),
    (18, "/"),
    (14, "/:file.css"),
    (12, "/:file.js"),
    (20, "/:file.jpg"),
    (8, "/cart/"),
    (3, "/checkout/"),
    (4, "/search/"),
    (3, "/account/"),
];

const PAGES: &[(u32, &str)] = &[
    (24, "/"),
    (16, "/news/:rest"),
    (9, "/about/"),
    (14, "/:file.css"),
    (11, "/:file.js"),
    (16, "/:file.png"),
    (4, "/contact/"),
    (3, "/feed/"),
];

/// The site whose sign-in is attacked.
pub(crate) const ATTACKED: (&str, &str) = ("agency", "portal.example");

/// All of them.
pub(crate) const COMPANIES: &[Company] = &[
    Company {
        tenant: "bakery",
        plan: "starter",
        hosts: 0,
        sites: &[Site {
            name: "bakery.example",
            requests_per_day: 3_000.0,
            peak_hour: 9.0,
            weekend: 1.4,
            routes: PAGES,
            attacked: false,
        }],
    },
    Company {
        tenant: "agency",
        plan: "professional",
        hosts: 0,
        sites: &[
            Site {
                name: ATTACKED.1,
                requests_per_day: 6_000.0,
                peak_hour: 14.0,
                weekend: 0.5,
                routes: PAGES,
                attacked: true,
            },
            Site {
                name: "magazine.example",
                requests_per_day: 9_000.0,
                peak_hour: 19.0,
                weekend: 1.2,
                routes: PAGES,
                attacked: false,
            },
            Site {
                name: "museum.example",
                requests_per_day: 4_000.0,
                peak_hour: 15.0,
                weekend: 1.6,
                routes: PAGES,
                attacked: false,
            },
        ],
    },
    Company {
        tenant: "retailer",
        plan: "enterprise",
        hosts: 50,
        sites: &[
            shop("shop.example", 16_000.0, 19.0),
            shop("outlet.example", 9_000.0, 20.0),
            shop("kids.example", 7_000.0, 17.0),
            shop("garden.example", 5_000.0, 16.0),
            Site {
                name: "jobs.example",
                requests_per_day: 2_000.0,
                peak_hour: 11.0,
                weekend: 0.4,
                routes: PAGES,
                attacked: false,
            },
        ],
    },
];

const fn shop(name: &'static str, requests_per_day: f64, peak_hour: f64) -> Site {
    Site { name, requests_per_day, peak_hour, weekend: 1.25, routes: SHOP, attacked: false }
}
