"""The addresses of the drills."""

from django.urls import path

from drill import views

urlpatterns = [path("", views.number), path("slow/", views.slow), path("count/", views.count)]
